"""What a browser and a monitor see: the queue, `/health` and `/metrics`.

Input: the queue and the figures. Output: plain HTML without scripts, JSON, and
Prometheus' text. Nothing can be changed here.
"""

import datetime
import html
import http.server
import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtl_jax.core import errors
from mtl_jax.export import author as authors
from mtl_jax.node import measurements, series_queue
from mtl_jax.predict import output_files
from mtl_jax.run import workdir

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
_PICTURE = re.compile(r"/picture/(s[0-9a-f]{16})\.png")
_IDLE_S = 30
# The most series of a state that the page lists, the newest.
_LISTED = 200
_STYLE = (
    "body{font:15px sans-serif;margin:2em}td,th{text-align:left;vertical-align:top;"
    "padding:.3em 1em .3em 0;border-bottom:1px solid #ccc}img{max-width:30em}"
)

# The names of what is wrong now; none if all is well.
Problems = Callable[[], list[str]]


class Server(http.server.ThreadingHTTPServer):
    """The web server of a node."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        queue: series_queue.Queue,
        figures: measurements.Measurements,
        problems: Problems,
    ) -> None:
        self.queue, self.figures, self.problems = queue, figures, problems
        super().__init__(address, _Handler)

    def start(self) -> int:
        """Serve in a thread of its own; the port."""
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a browser that goes away is no error."""


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _IDLE_S

    @property
    def _node(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_GET(self) -> None:
        queue = self._node.queue
        if self.path == "/":
            self._answer(200, "text/html; charset=utf-8", page(queue).encode())
        elif self.path == "/health":
            problems = self._node.problems()
            states = {s: len(queue.folders(s)) for s in series_queue.STATES}
            value = {"ok": not problems, "problems": problems, "series": states}
            status = 503 if problems else 200
            self._answer(status, "application/json", json.dumps(value).encode())
        elif self.path == "/metrics":
            self._answer(200, "text/plain; version=0.0.4", self._node.figures.text())
        elif picture := self._picture():
            self._answer(200, "image/png", picture)
        else:
            self._answer(404, "text/plain", b"not here\n")

    def _picture(self) -> bytes | None:
        match = _PICTURE.fullmatch(self.path)
        folder = self._node.queue.find(match[1]) if match else None
        try:
            return _preview(folder).read_bytes() if folder else None
        except FileNotFoundError:
            return None

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the node's log is about series."""


def page(queue: series_queue.Queue) -> str:
    """The queue as HTML: each series with its state, picture and what is to be said."""
    rows = []
    for state in series_queue.STATES:
        for folder in reversed(queue.folders(state)[-_LISTED:]):
            try:
                rows.append(_row(folder, state))
            except (OSError, errors.WorkdirError):  # it has just left this state
                continue
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta http-equiv=refresh content="30"><title>MTL_JAX node</title>'
        f"<style>{_STYLE}</style><h1>MTL_JAX node</h1>"
        f"<p>{html.escape(authors.NOTICE)}</p><table><tr><th>series<th>state<th>since"
        f"<th>images<th>to be said<th>prediction</tr>{''.join(rows)}</table>"
        '<p><a href="/health">health</a> <a href="/metrics">metrics</a>'
    )


def _row(folder: Path, state: str) -> str:
    since = datetime.datetime.fromtimestamp(folder.stat().st_mtime)
    said = "<br>".join(html.escape(sentence) for sentence in _sentences(folder))
    picture = ""
    if _preview(folder).exists():
        picture = f'<img src="/picture/{folder.name}.png" alt="CT and prediction">'
    return (
        f"<tr><td>{folder.name}<td>{state}<td>{since:%Y-%m-%d %H:%M:%S}"
        f"<td>{series_queue.count(folder)}<td>{said}<td>{picture}</tr>"
    )


def _sentences(folder: Path) -> list[str]:
    """Why a series was refused, or what is to be said of its prediction."""
    if refused := series_queue.reason(folder):
        return [f"{refused['reason']}: {refused['message']}"]
    path = folder / series_queue.RESULT / output_files.STATISTICS
    said: Mapping[str, Any] = workdir.read_json(path) if path.exists() else {}
    failures = [f"check: {text}" for text in said.get(output_files.FAILURES, ())]
    return [*failures, *said.get("warnings", ()), *map(str, said.get("notes", ()))]


def _preview(folder: Path) -> Path:
    return folder / series_queue.RESULT / output_files.PREVIEW
