"""Loops that survive, and the page and figures of a node."""

import json
import time
import urllib.error
import urllib.request

import pytest

from mtl_jax.node import measurements, series_queue, service, web_page
from tests.node import objects


def test_a_loop_survives_what_its_job_raises_and_tells_no_text(caplog):
    def fail():
        raise ValueError("QZNAME")

    loop = service.Loop("arrivals", fail, 0.0, 60.0)
    assert loop.is_well
    assert not loop.once()
    assert not loop.is_well
    assert "arrivals: ValueError in test_service.py" in caplog.text
    assert "QZNAME" not in caplog.text


def test_a_job_that_hangs_is_not_well():
    loop = service.Loop("predictions", lambda: True, 0.0, late_s=0.05)
    assert loop.once() and loop.is_well
    time.sleep(0.06)
    assert not loop.is_well


def test_problems_are_named(tmp_path):
    well = service.Loop("deliveries", lambda: None, 0.0, 60.0)
    late = service.Loop("predictions", lambda: None, 0.0, -1.0)
    assert service.problems([well, late], tmp_path, 1e-6) == ["predictions"]
    assert service.problems([well], tmp_path, 1e9) == ["disk"]


@pytest.fixture
def site(tmp_path):
    """The queue, the list of problems, and `get(path)`: status and content."""
    queue = series_queue.Queue(tmp_path, objects.LIMITS)
    problems: list[str] = []
    figures = measurements.Measurements(queue)
    server = web_page.Server(("127.0.0.1", 0), queue, figures, lambda: problems)
    port = server.start()

    def get(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    yield queue, problems, get
    server.shutdown()
    server.server_close()


def test_the_page_says_why_a_series_was_refused_as_text(site):
    queue, _, get = site
    queue.add(objects.ABOUT, "1", b"CT", "a", {"a"})
    (folder,) = queue.folders(series_queue.INCOMING)
    queue.refuse(folder, "reader", "<script>alert(1)</script>")
    status, page = get("/")
    assert status == 200 and f"<td>{folder.name}<td>refused" in page
    assert "reader: &lt;script&gt;" in page and "<script" not in page


def test_health_is_503_while_something_is_wrong(site):
    _, problems, get = site
    assert get("/health")[0] == 200
    problems.append("disk")
    status, said = get("/health")
    assert status == 503 and json.loads(said)["problems"] == ["disk"]


def test_figures_count_series_by_state(site):
    queue, _, get = site
    queue.add(objects.ABOUT, "1", b"CT", "a", {"a"})
    status, text = get("/metrics")
    assert status == 200
    assert 'mtl_jax_node_series{state="incoming"} 1.0' in text
    assert 'mtl_jax_node_refused_total{reason="late"} 0.0' in text
