"""Sends what a run logs to an experiment tracker: W&B or MLflow.

Input: the scalars of a step. Output: a run in the tracker, by the tracker's own client
and its own settings (such as `WANDB_MODE`, `MLFLOW_TRACKING_URI`). A run that resumes
goes on in the same one, whose name in the tracker is kept in `trackers.json`.

Numbers and the configuration are sent, without paths; no picture of a patient is.
"""

import importlib
import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from mtl_jax.core import errors, files
from mtl_jax.train import writers

FILE = "trackers.json"
PROJECT = "mtl_jax"


class Client(Protocol):
    """A run in a tracker, that was begun or is continued."""

    name: str  # by which the tracker knows the run

    def log(self, step: int, figures: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class WandB:
    """A run of Weights & Biases, by `wandb`."""

    def __init__(self, title: str, name: str | None, config: Mapping[str, Any]):
        wandb = importlib.import_module("wandb")
        # Only the step of a line counts, not the order in which lines come: a run that
        # was killed repeats some.
        self._run = wandb.init(
            project=PROJECT, name=title, id=name, resume="allow", config=dict(config)
        )
        self._run.define_metric("*", step_metric="step")
        self.name = self._run.id

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log({"step": step, **figures})

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of MLflow, by `mlflow`."""

    def __init__(self, title: str, name: str | None, config: Mapping[str, Any]):
        self._mlflow = importlib.import_module("mlflow")
        self._client = self._mlflow.MlflowClient()
        self.name = name or self._begin(title, config)

    def _begin(self, title: str, config: Mapping[str, Any]) -> str:
        experiment = self._mlflow.set_experiment(PROJECT).experiment_id
        name = self._client.create_run(experiment, run_name=title).info.run_id
        for key, value in config.items():
            self._client.log_param(name, key, value)
        return name

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metric = self._mlflow.entities.Metric
        metrics = [metric(key, value, now, step) for key, value in figures.items()]
        self._client.log_batch(self.name, metrics=metrics)

    def close(self) -> None:
        self._client.set_terminated(self.name)


CLIENTS: dict[str, Callable[[str, str | None, Mapping[str, Any]], Client]] = {
    "mlflow": MLflow,
    "wandb": WandB,
}


class Tracker(writers.Quiet):
    """The writer of a tracker. The run there begins with the first line."""

    def __init__(self, tracker: str, workdir: Path, config: Mapping[str, Any]):
        self._tracker, self._workdir, self._config = tracker, workdir, config
        self._client: Client | None = None

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        if self._client is None:
            self._client = self._begin()
        self._client.log(step, {name: float(v) for name, v in scalars.items()})

    def _begin(self) -> Client:
        path = self._workdir / FILE
        names = json.loads(path.read_text()) if path.exists() else {}
        title = f"{self._workdir.parent.name}/{self._workdir.name}"
        client = CLIENTS[self._tracker](title, names.get(self._tracker), self._config)
        with files.whole(path) as partial:
            partial.write_text(json.dumps(names | {self._tracker: client.name}))
        return client

    def flush(self) -> None: ...

    def close(self) -> None:
        if self._client is not None:
            self._client.close()


def trackers(
    names: Sequence[str], workdir: Path, config: Mapping[str, Any]
) -> list[Tracker]:
    """A writer for each of `names`, for the run in `workdir` of a flat `config`.

    Raises:
        ConfigError: a tracker is not installed.
    """
    for name in names:
        if not importlib.util.find_spec(name):
            raise errors.ConfigError(
                f"train.trackers names {name}, which is not installed: "
                f"pip install 'mtl-jax[{name}]'"
            )
    return [Tracker(name, workdir, config) for name in names]
