"""What experiment trackers are sent, with stand-ins for their clients."""

import json
import sys
import types

import numpy as np
import pytest

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.train import trackers


class Wandb(types.ModuleType):
    """Keeps what `wandb` would send."""

    def __init__(self):
        super().__init__("wandb")
        self.begun, self.lines, self.finished = [], [], 0

    def init(self, **settings):
        self.begun.append(settings)
        run = types.SimpleNamespace(id=settings["id"] or f"id{len(self.begun)}")
        run.define_metric = lambda name, step_metric: None
        run.log = self.lines.append
        run.finish = lambda: setattr(self, "finished", self.finished + 1)
        return run


class Mlflow(types.ModuleType):
    """Keeps what `mlflow` would send."""

    def __init__(self):
        super().__init__("mlflow")
        self.lines, self.params, self.runs, self.ended = [], {}, 0, []
        self.entities = types.SimpleNamespace(
            Metric=lambda key, value, timestamp, step: (key, value, step)
        )

    def MlflowClient(self):
        return self

    def set_experiment(self, name):
        return types.SimpleNamespace(experiment_id=name)

    def create_run(self, experiment, run_name):
        self.runs += 1
        info = types.SimpleNamespace(run_id=f"{experiment}-{run_name}-{self.runs}")
        return types.SimpleNamespace(info=info)

    def log_param(self, run, key, value):
        self.params[run, key] = value

    def log_batch(self, run, metrics):
        self.lines += [(run, *metric) for metric in metrics]

    def set_terminated(self, run):
        self.ended.append(run)


@pytest.fixture(params=[Wandb, Mlflow])
def client(request, monkeypatch):
    made = request.param()
    made.__spec__ = types.SimpleNamespace(name=made.__name__)
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def run(client, home, step):
    """A start that logs one line."""
    (writer,) = trackers.trackers((client.__name__,), home, {"train.steps": 8})
    writer.write_scalars(step, {"loss/total": np.float32(0.5), "epoch": 1})
    writer.write_images(step, {"slices": np.zeros((2, 2, 3), np.uint8)})
    writer.flush()
    writer.close()


def test_a_run_that_resumes_goes_on_in_the_same_one(client, tmp_path):
    home = tmp_path / "study" / "multi"
    home.mkdir(parents=True)
    run(client, home, 4)
    name = json.loads((home / trackers.FILE).read_text())[client.__name__]
    run(client, home, 8)
    if client.__name__ == "wandb":
        assert [begun["id"] for begun in client.begun] == [None, name]
        assert client.begun[0]["name"] == "study/multi"
        assert client.begun[0]["config"] == {"train.steps": 8}
        assert client.lines == [
            {"step": step, "loss/total": 0.5, "epoch": 1.0} for step in (4, 8)
        ]
        assert client.finished == 2
    else:
        assert client.runs == 1
        assert name == "mtl_jax-study/multi-1"
        assert client.params == {(name, "train.steps"): 8}
        assert client.lines == [
            (name, key, value, step)
            for step in (4, 8)
            for key, value in (("loss/total", 0.5), ("epoch", 1.0))
        ]
        assert client.ended == [name, name]


def test_nothing_begins_without_a_line(client, tmp_path):
    (writer,) = trackers.trackers((client.__name__,), tmp_path, {})
    writer.close()
    assert not list(tmp_path.iterdir())


def test_a_missing_client_is_an_error_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.ConfigError, match=r"pip install 'mtl-jax\[wandb\]'"):
        trackers.trackers(("wandb",), tmp_path, {})


def test_the_configuration_knows_the_trackers():
    accepts = configs.KEYS["train.trackers"].accepts
    assert accepts(()) and accepts(tuple(trackers.CLIENTS))
    assert not accepts(("comet",)) and not accepts("wandb")
