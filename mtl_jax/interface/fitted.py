"""Training from Python: what `python -m mtl_jax.main` does, with callbacks.

Input: a configuration and a working directory. Output: a TrainedRun, from which
`load_model` starts.

>>> import mtl_jax
>>> run = mtl_jax.fit("demo:multi", "runs/demo")  # doctest: +SKIP
>>> model = mtl_jax.load_model(run)  # doctest: +SKIP
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mtl_jax.core import errors
from mtl_jax.interface import configured, opened
from mtl_jax.run import one_run
from mtl_jax.train import distributed, writers

logger = logging.getLogger("mtl_jax")

Callback = writers.Callback


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A run that was trained and evaluated."""

    workdir: Path  # checkpoints, figures, predictions, model card
    finished: bool  # False: a callback ended it; the same call goes on with it
    # What evaluation/<split>.json holds, by split: means, spreads and yardsticks.
    summaries: dict[str, dict[str, Any]] = dataclasses.field(repr=False)

    def __fspath__(self) -> str:
        return str(self.workdir)

    def log(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`: a step and its figures each."""
        return writers.read_json_lines(self.workdir / "metrics.jsonl")


def fit(
    config: configured.Configuration,
    workdir: str | Path,
    *,
    callbacks: Sequence[Callback] = (),
    data_dir: str | Path | None = None,
    manual_dir: str | Path | None = None,
) -> TrainedRun:
    """Prepare the data if needed, train one role, and evaluate it.

    A run that was stopped goes on from its newest checkpoint. Ctrl-C, or the button of
    a notebook, saves one first. A script needs `if __name__ == "__main__":` before the
    call, because processes that read patients import it.

    Args:
        config: a name such as `openkbp:multi`, a file, or a configuration.
        workdir: the folder for results.
        callbacks: each is called with the step and the figures of every line that is
            logged, in order, as `callback(step, figures)`. If one returns True,
            training saves a checkpoint and ends, and the evaluation follows. A line
            comes when the next one is due: the device does not wait for it.
        data_dir: as of `open_dataset`.
        manual_dir: as of `open_dataset`.

    Raises:
        MtlError: as the command says, with what to do.
    """
    if distributed.count() > 1:
        raise errors.ProcessError(
            "fit trains in one process: for several, use `python -m mtl_jax.main`"
        )
    configured.start()
    checked = configured.read(config)
    home = Path(workdir).expanduser()
    outcome = one_run.train_evaluate(
        checked,
        home,
        lambda: opened.build(checked, data_dir, manual_dir),
        callbacks=tuple(callbacks),
        say=logger.info,
    )
    return TrainedRun(home, *outcome)
