"""Pretrained weights from a cache, a path, or a server on loopback: right and wrong."""

import contextlib
import dataclasses
import hashlib
import http.server
import logging
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.models import pretrained, torch_names

torch = pytest.importorskip("torch")

RANDOM = "ENCODER STARTS FROM RANDOM WEIGHTS"


@pytest.fixture(scope="module")
def variables(build, random_variables):
    return random_variables(build("hps"))


@pytest.fixture(scope="module")
def state(build, random_variables) -> dict[str, np.ndarray]:
    """RGB weights for the tiny encoder by torchvision's names, with a classifier's."""
    rgb = random_variables(build("single"), 3)
    encoder = {name: tree["encoder"] for name, tree in rgb.items()}
    return {**torch_names.to_torch(encoder), "fc.bias": np.zeros(10, np.float32)}


@pytest.fixture(scope="module")
def content(state, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("published") / "weights.pth"
    tensors = {name: torch.from_numpy(x.copy()) for name, x in state.items()}
    tensors["conv1.weight"] = torch.nn.Parameter(tensors["conv1.weight"])
    torch.save(tensors, path)
    return path.read_bytes()


@pytest.fixture
def published(content) -> pretrained.WeightsFile:
    start = hashlib.sha256(content).hexdigest()[:8]
    return pretrained.WeightsFile(
        name=f"tiny-{start}.pth",
        url="http://127.0.0.1:9/nobody-listens-here",
        sha256_start=start,
        stage_sizes=(2, 2, 2, 2),
        width=4,
    )


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty torch cache, nothing of the user's."""
    home = tmp_path / "torch"
    monkeypatch.setenv("TORCH_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(pretrained.URL_VARIABLE, raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return home


@contextlib.contextmanager
def server(answer: bytes, *, sent: int | None = None, status: int = 200) -> Iterator:
    """Serve `answer` on loopback, closing the connection after `sent` bytes of it."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer[:sent])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listener.server_port}/weights.pth", requests
        finally:
            listener.shutdown()


def assert_pretrained(loaded, variables, state) -> None:
    encoder = {name: tree["encoder"] for name, tree in loaded.items()}
    expected = dict(state)
    expected["conv1.weight"] = state["conv1.weight"].sum(axis=1, keepdims=True)
    del expected["fc.bias"]
    seen = torch_names.to_torch(encoder)
    assert set(seen) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(seen[name], value, rtol=1e-6, err_msg=name)
    for part in ("decoder_dose", "head_contours"):
        np.testing.assert_equal(loaded["params"][part], variables["params"][part])


def assert_random(loaded, note, variables, caplog, home, why: str) -> None:
    assert loaded is variables
    assert note.startswith("random weights: ") and why in note
    loud = [record.message for record in caplog.records if RANDOM in record.message]
    assert len(loud) == 1 and why in loud[0]
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_downloads_checks_and_keeps(
    variables, state, content, published, home, monkeypatch
) -> None:
    with server(content) as (url, requests):
        here = dataclasses.replace(published, url=url)
        loaded, note = pretrained.load(variables, "auto", published=here)
        pretrained.load(variables, "auto", published=here)  # from the cache
    assert len(requests) == 1
    assert_pretrained(loaded, variables, state)
    kept = home / "hub" / "checkpoints" / published.name
    assert [path for path in home.rglob("*") if path.is_file()] == [kept]
    assert note == (
        f"encoder from {kept}, SHA-256 {hashlib.sha256(content).hexdigest()}"
    )


def test_a_mirror_can_be_named(
    variables, state, content, published, monkeypatch
) -> None:
    with server(content) as (url, _):
        monkeypatch.setenv(pretrained.URL_VARIABLE, url)
        loaded, _ = pretrained.load(variables, "auto", published=published)
    assert_pretrained(loaded, variables, state)


def test_a_wrong_checksum_is_never_used(
    variables, content, published, home, caplog
) -> None:
    with server(content + b"!") as (url, _):
        here = dataclasses.replace(published, url=url)
        loaded, note = pretrained.load(variables, "auto", published=here)
    why = f"expected {published.sha256_start}"
    assert_random(loaded, note, variables, caplog, home, why)


def test_a_cut_off_download(variables, content, published, home, caplog) -> None:
    with server(content, sent=5000) as (url, _):
        here = dataclasses.replace(published, url=url)
        loaded, note = pretrained.load(variables, "auto", published=here)
    why = f"cut off after 5000 of {len(content)} bytes"
    assert_random(loaded, note, variables, caplog, home, why)


def test_a_server_without_the_file(variables, published, home, caplog) -> None:
    with server(b"", status=404) as (url, _):
        here = dataclasses.replace(published, url=url)
        loaded, note = pretrained.load(variables, "auto", published=here)
    assert_random(loaded, note, variables, caplog, home, "HTTP Error 404")


def test_nothing_there(variables, published, home, caplog) -> None:
    loaded, note = pretrained.load(variables, "auto", published=published)
    assert_random(loaded, note, variables, caplog, home, "cannot be downloaded")
    assert f"put {published.name} into {home / 'hub' / 'checkpoints'}" in note


def test_a_cache_that_cannot_be_made(variables, published, home, caplog) -> None:
    home.write_text("a file where the folder should be")
    _, note = pretrained.load(variables, "auto", published=published)
    assert note.startswith("random weights: ")


@pytest.mark.parametrize(
    "folder",
    ["torch/hub/checkpoints", "torch", "cache/torch/hub/checkpoints", "cache/torch"],
)
def test_finds_a_file_in_torchs_places(
    variables, state, content, published, tmp_path, folder
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / published.name).write_bytes(content)
    loaded, note = pretrained.load(variables, "auto", published=published)
    assert_pretrained(loaded, variables, state)
    assert str(tmp_path / folder) in note


def test_a_damaged_file_in_the_cache_is_said_and_replaced(
    variables, state, content, published, home, caplog
) -> None:
    kept = home / "hub" / "checkpoints" / published.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content[:-100])
    with server(content) as (url, _):
        here = dataclasses.replace(published, url=url)
        loaded, _ = pretrained.load(variables, "auto", published=here)
    assert_pretrained(loaded, variables, state)
    assert f"{kept} is not used: its SHA-256 starts with" in caplog.text
    assert kept.read_bytes() == content


def test_auto_cannot_fit_another_size(variables, caplog, home) -> None:
    loaded, note = pretrained.load(variables, "auto")
    why = "stages (3, 4, 6, 3) and width 64, this encoder has (2, 2, 2, 2) and 4"
    assert_random(loaded, note, variables, caplog, home, why)


def test_none_is_quiet(variables, caplog) -> None:
    with caplog.at_level(logging.DEBUG):
        loaded, note = pretrained.load(variables, "none")
    assert loaded is variables and "'none'" in note and not caplog.records


def test_a_path_is_loaded_or_fails(variables, state, content, tmp_path) -> None:
    path = tmp_path / "mine.pth"
    with pytest.raises(errors.WeightsError, match=r"mine\.pth: no such file"):
        pretrained.load(variables, str(path))
    path.write_bytes(content[:4000])
    with pytest.raises(errors.WeightsError, match=r"mine\.pth: cut off"):
        pretrained.load(variables, str(path))
    path.write_bytes(content)
    loaded, note = pretrained.load(variables, str(path))
    assert_pretrained(loaded, variables, state)
    assert note.startswith(f"encoder from {path}, SHA-256 ")


def test_a_path_that_does_not_fit_is_explained(
    build, shapes, content, tmp_path
) -> None:
    path = tmp_path / "mine.pth"
    path.write_bytes(content)
    wider = shapes(build("hps", width=8))
    expected = (
        r"mine\.pth: .*145 misshapen \(.*layer1\.0.*give a ResNet with stages "
        r"\(2, 2, 2, 2\) and width 8, or set model\.pretrained"
    )
    with pytest.raises(errors.WeightsError, match=expected):
        pretrained.load(wider, str(path))
