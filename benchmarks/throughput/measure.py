"""Runs the modes of a case in turns, each in its worker, and gathers what they say.

One works at a time; the others sleep on their pipes. A worker that fails, dies or does
not answer in time costs its row, never the run.
"""

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.throughput import cases, job, launch, worker


class LostError(Exception):
    """A worker that gives no more answers; the message says why."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long, and with what."""

    repeats: int
    steps: int  # of each turn
    threads: int
    patience: float  # seconds until a worker that does not answer is given up
    deadline: float  # time.monotonic() after which nothing new is begun
    caches: Path
    logs: Path
    data_dir: Path | None

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


class Worker:
    """A process with one mode of a case."""

    def __init__(self, case: cases.Case, mode: cases.Mode, settings: Settings):
        changed = launch.environment(
            case,
            mode,
            threads=settings.threads,
            caches=settings.caches,
            user=os.environ,
        )
        merged = os.environ | changed
        self.environment = {name: value for name, value in changed.items() if value}
        settings.logs.mkdir(parents=True, exist_ok=True)
        name = "-".join((case.title + " " + mode.label).replace("/", " ").split())
        self._log = settings.logs / f"{name.replace(',', '')}.txt"
        data_dir = str(settings.data_dir) if settings.data_dir else None
        spec = job.Spec(case, mode, settings.threads, time.time(), data_dir)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                launch.command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={name: value for name, value in merged.items() if value},
            )
        self._answers: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._write(worker.as_line(spec))

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put("")  # it has ended

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: `answer` says so
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def turn(self, steps: int, patience: float) -> dict[str, Any]:
        """The answer to a turn of `steps`."""
        self._write(json.dumps({"steps": steps}) + "\n")
        return self.answer(patience)

    def answer(self, patience: float) -> dict[str, Any]:
        """The next answer; LostError if there is none within `patience` seconds."""
        try:
            line = self._answers.get(timeout=max(0.0, patience))
        except queue.Empty:
            self._process.kill()
            raise LostError(f"no answer within {patience:.0f} s") from None
        if not line:
            raise LostError(self._last_words())
        values = json.loads(line)
        if "failed" in values:
            raise LostError(values["failed"])
        return values

    def _last_words(self) -> str:
        status = self._process.wait()
        lines = self._log.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1][:300]}" if lines else ""
        if status == -9:
            return "was killed, as a system does that runs out of memory" + last
        return f"ended with status {status}{last}"

    def close(self) -> None:
        """End the process, gently first."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=10)  # a child of the worker may hold the pipe


def measure(
    case: cases.Case,
    modes: Sequence[cases.Mode],
    settings: Settings,
    advance: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Rows of `modes`, in their order; `advance` is told of each thing that is done.

    A row has the mode, `turns` (seconds, steps, images), what the worker said of its
    start, and `failed`: None, or why there are no turns.
    """
    rows = [start_row(mode) for mode in modes]
    # A TPU belongs to one process: there a mode ends before the next one starts.
    alone = case.platform == "tpu"
    pairs = list(zip(rows, modes, strict=True))
    for group in [[pair] for pair in pairs] if alone else [pairs]:
        with contextlib.ExitStack() as stack:
            started = []
            for row, mode in group:
                found = start(case, mode, settings, row)
                if found is not None:
                    stack.callback(found.close)
                    started.append((row, found))
                advance(mode.label)
            take_turns(started, settings, advance)
    for row in rows:
        row["failed"] = row["failed"] or (None if row["turns"] else "no time was left")
    return rows


def start_row(mode: cases.Mode) -> dict[str, Any]:
    """A row of which nothing is known yet."""
    return {
        "framework": mode.framework,
        "mode": mode.name,
        "arithmetic": mode.arithmetic,
        "options": dict(mode.options),
        "compared": mode.compared,
        "turns": [],
        "failed": None,
    }


def start(
    case: cases.Case, mode: cases.Mode, settings: Settings, row: dict[str, Any]
) -> Worker | None:
    """A worker after its first step, or None; `row` is told how it went."""
    if settings.left() <= 0:
        return None
    found = Worker(case, mode, settings)
    row["environment"] = found.environment
    try:
        # Half of the time that is left stays for what comes after.
        row.update(found.answer(min(settings.patience, settings.left() / 2)))
    except LostError as lost:
        row["failed"] = str(lost)
        found.close()
        return None
    except BaseException:
        found.close()
        raise
    return found


def take_turns(
    started: list[tuple[dict[str, Any], Worker]],
    settings: Settings,
    advance: Callable[[str], None],
) -> None:
    """As many turns as there are repeats, or time for; each worker one by one."""
    for repeat in range(settings.repeats):
        if repeat and settings.left() <= 0:
            return
        for row, found in started:
            if row["failed"] is None:
                try:
                    add_turn(row, found.turn(settings.steps, settings.patience))
                except LostError as lost:
                    row["failed"] = str(lost)
            advance(f"{row['framework']}/{row['mode']}")


def add_turn(row: dict[str, Any], said: dict[str, Any]) -> None:
    """Put what a worker said of a turn into its row."""
    row["turns"].append(
        {name: said.pop(name) for name in ("seconds", "steps", "images")}
    )
    row.update(said)
