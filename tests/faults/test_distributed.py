"""Two processes that train together: stopped, killed, and continued by one or two."""

import json
import signal
import time

import matplotlib
import numpy as np
import pytest

from mtl_jax.configs import demo
from mtl_jax.core import config as configs
from mtl_jax.evaluation import scoring
from mtl_jax.run import command, wiring
from mtl_jax.study import comparison
from mtl_jax.train import checkpoint, distributed, writers
from tests import commands
from tests.predict import checkpoints
from tests.train import together

# One task: what is compiled and traced in each of seven processes is small.
ROLE = "baseline"
STEPS = 30
SETTINGS = {
    "train__steps": STEPS,
    "train__log_every": 1,
    "train__checkpoint_every": 2,
    "train__validate_every": STEPS,
    "train__images_every": STEPS,
    "evaluate__batch_size": 8,
    "model__start_from": "~/earlier",
}


class Together:
    """Runs in one working directory, of one or two processes."""

    def __init__(self, command, workdir):
        self.command, self.workdir = command, workdir
        self.nobody = workdir.with_name("nobody")

    def start(self, processes, **changes):
        """The running processes; the first one alone knows the working directory.

        Each has a home of its own, beside the working directory.
        """
        address = f"127.0.0.1:{together.free_port()}"
        return [
            self._start_one(
                self.workdir if index == 0 else self.nobody,
                f"--coordinator_address={address}",
                f"--num_processes={processes}",
                f"--process_id={index}",
                home=self.home(index),
                **(SETTINGS | changes),
            )
            for index in range(processes)
        ]

    def _start_one(self, *flags, home, **settings):
        with pytest.MonkeyPatch.context() as patch:
            # The list of fonts, which takes long to make, stays where it is.
            patch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())
            patch.setenv("HOME", str(home))
            return self.command.start(
                *flags, config=f"configs/demo.py:{ROLE}", **settings
            )

    def home(self, index):
        """The home of process `index`."""
        return self.workdir.with_name(str(index))

    def end(self, started):
        """(exit status, stdout, stderr) of each."""
        ended = [(*p.communicate(timeout=240), p.returncode) for p in started]
        return [(status, out, err) for out, err, status in ended]

    def signal_second(self, number, *, after):
        """Two processes; the second gets a signal once there are more rows.

        Returns how they ended, and after how many seconds.
        """
        started = self.start(2)
        while started[0].poll() is None and len(self.rows()) <= after:
            time.sleep(0.02)
        started[1].send_signal(number)
        sent = time.monotonic()
        return self.end(started), time.monotonic() - sent

    def rows(self):
        rows = writers.read_json_lines(self.workdir / "metrics.jsonl")
        return [row for row in rows if "loss/total" in row]

    def newest(self):
        return checkpoint.steps(self.workdir / "checkpoints")[-1]

    def evaluation(self):
        return scoring.read_csv(self.workdir / "evaluation" / "test.csv")


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """What was seen of each start.

    The network to start from is in the first process's home, and only at the beginning.
    """
    on_phantoms = commands.on_phantoms(tmp_path_factory)
    this = Together(on_phantoms, tmp_path_factory.mktemp("story") / "run")
    checkpoints.write(this.home(0) / "earlier", ROLE, "openkbp")
    seen = {"terminated": this.signal_second(signal.SIGTERM, after=2)}
    seen["saved"] = this.newest()
    (this.home(0) / "earlier").rename(this.home(0) / "gone")
    seen["killed"] = this.signal_second(signal.SIGKILL, after=len(this.rows()) + 3)
    seen["left"] = this.newest()
    seen["alone"] = this.end(this.start(1, train__backend="pmap"))
    seen["scores alone"] = this.evaluation()
    seen["together"] = this.end(this.start(2))
    return this, seen


def test_sigterm_at_one_saves_at_the_same_step_and_ends_both(story):
    _, seen = story
    ended, seconds = seen["terminated"]
    assert [status for status, _, _ in ended] == [75, 75], ended
    assert seconds < 60
    assert 0 < seen["saved"] < STEPS


def test_when_one_is_killed_the_other_ends_with_an_error(story):
    _, seen = story
    ended, seconds = seen["killed"]
    (status, _, said), (killed, _, _) = ended
    assert killed == -signal.SIGKILL
    assert status not in (0, 75)
    assert "error: process 0 of 2: an exchange with the others failed" in said
    assert seconds < 120
    assert seen["saved"] < seen["left"] < STEPS


def test_one_process_goes_on_where_two_were_with_another_backend(story):
    this, seen = story
    ((status, out, err),) = seen["alone"]
    assert status == 0, err
    assert "mean Dice" in out or "dose" in out
    steps = [row["step"] for row in this.rows()]
    assert steps == list(range(1, STEPS + 1))
    starts = json.loads((this.workdir / "provenance.json").read_text())["starts"]
    assert [start["processes"] for start in starts] == [2, 2, 1, 2]
    assert [start["from_step"] for start in starts] == [
        0, seen["saved"], seen["left"], STEPS
    ]  # fmt: skip


def test_the_first_losses_are_those_of_one_process(story):
    this, _ = story
    changes = SETTINGS | {"model__start_from": this.home(0) / "gone"}
    config = commands.configure(f"configs/demo.py:{ROLE}", **changes)
    folder = this.command.data_dir
    data = command.prepare_in(configs.check(config), data_dir=folder, manual_dir=None)
    run = wiring.Run(config, data, this.workdir)
    state = run.backend.put_state(run.initial_state()[0])
    update = run.backend.update(run.step.train)
    found = [row["loss/total"] for row in this.rows()]
    expected = []
    for number in range(2):
        state = update(state, run.backend.put_batch(run.training_batches.batch(number)))
        expected.append(run.backend.host(state).window["loss/total"])
    # Another batch would change it by per cents; the second has seen a step of Adam's.
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-3)


def test_two_processes_count_every_slice_once(story):
    this, seen = story
    for status, _, err in seen["together"]:
        assert status == 0, err
    outs = [out for _, out, _ in seen["together"]]
    assert ["picture: " in out for out in outs] == [True, False]
    assert not this.nobody.exists()
    here, alone = this.evaluation(), seen["scores alone"]
    assert [row.metric for row in here] == [row.metric for row in alone]
    for one, other in zip(here, alone, strict=True):
        np.testing.assert_allclose(one.prediction, other.prediction, rtol=1e-3)


def test_only_the_first_process_reads_the_network_to_start_from(story):
    this, _ = story
    starts = json.loads((this.workdir / "provenance.json").read_text())["starts"]
    item = checkpoint.read_run(this.home(0) / "gone/checkpoints/1")
    assert starts[0]["processes"] == 2
    assert starts[0]["start_from"]["digest"] == item["digest"]
    assert starts[0]["start_from"]["anew"] == []
    assert not any("start_from" in start for start in starts[1:])


def test_a_study_of_several_processes_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(distributed, "count", lambda: 2)
    monkeypatch.setattr(command, "config", demo.get_config)
    assert command.status_of(comparison.compare) == 1
    assert "a study runs in one process" in capsys.readouterr().err
