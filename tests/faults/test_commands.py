"""Real commands, killed, stopped, and started twice."""

import random
import shutil
import signal
import time

import numpy as np

from mtl_jax.core import locks
from mtl_jax.train import writers
from tests import commands
from tests.faults import soak


def test_a_run_killed_while_it_builds_and_saves_ends_as_one_left_alone(
    command, study, tmp_path
):
    """The bounded form of the soak; other kills are in tests/run and tests/study."""
    chance = np.random.default_rng(random.SystemRandom().getrandbits(32))
    small = soak.Soak(
        tmp_path, 0, roles=("contour",), tables=False, settings=commands.STUDY
    )
    data = command.data_dir
    small.state["expected"] = soak.outcome(study[0], data, ("contour",), tables=False)
    places = ["build", "checkpoint"]
    for place in places:
        small.go_on(place, chance)
    assert small.state["kills"] == places
    small.go_on(None, chance)
    assert small.state["rounds"] == [{"kills": 2, "different": []}]
    assert {"contour/state", "data"} < small.state["expected"].keys()
    assert "1 of them left" in "\n".join(small.summary())


def wait_until(process, happens):
    while not happens():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_second_run_in_a_working_directory_is_refused(command, tmp_path):
    home = tmp_path / "run"
    settings = commands.STUDY | {"config": "configs/demo.py:contour"}
    settings |= {"train__steps": 5000}
    del settings["module"]
    first = command.start(home, **settings)
    log = home / "metrics.jsonl"
    wait_until(first, lambda: writers.read_json_lines(log))
    status, _, err = command.call(home, **settings)
    assert status == 1
    assert f"{home} is in use by process {first.pid} on " in err
    assert "choose another --workdir" in err
    assert first.poll() is None  # and goes on
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=300)
    assert first.returncode == 75, err
    assert not (home / locks.FILE).exists()


def test_sigterm_while_the_data_are_built_leaves_nothing_half_done(tmp_path):
    command = commands.Command(tmp_path / "data")
    process = command.start(tmp_path / "run")
    wait_until(process, lambda: list(command.data_dir.glob(".phantom-*/made/*")))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 75, err
    assert "SIGTERM: stopped; run the same command again to continue" in err
    assert "Traceback" not in err
    assert not command.data_dir.exists()
    assert not (tmp_path / "run").exists()


def test_sigterm_while_a_study_evaluates_stops_it_there(command, study, tmp_path):
    home = tmp_path / "study"
    shutil.copytree(study[0], home)
    shutil.rmtree(home / "contour" / "predictions")
    evaluated = home / "contour" / "evaluation" / "test.json"
    process = command.start(home, **commands.STUDY)
    wait_until(process, lambda: not evaluated.exists())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 75, err
    assert "run the same command again to continue" in err
    assert "Traceback" not in err
    assert not evaluated.exists()  # it is made by the next start
    assert not list(home.rglob(locks.FILE))
    assert not list(home.rglob("*.tmp"))
