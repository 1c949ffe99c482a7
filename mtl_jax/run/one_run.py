"""One run from its data to its model card: what `python -m mtl_jax.main` does.

Input: the values of the flags, or a configuration and a folder. Output: a working
directory, and the exit status or the summaries of the evaluated splits.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import locks
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import summary
from mtl_jax.run import (
    averaging,
    command,
    input_contours,
    model_card,
    results,
    starting_weights,
    stopping,
    wiring,
    workdir,
)
from mtl_jax.train import distributed, trackers, writers


class Outcome(NamedTuple):
    """What came of a run."""

    finished: bool  # False: stopped before its last step
    summaries: dict[str, dict[str, Any]]  # of the evaluation, by split


def prepare_train_evaluate() -> int:
    """The run of the flags; returns the exit status."""
    config = command.config()
    home = command.workdir(below=config.role)
    train_evaluate(config, home, functools.partial(command.prepare, config))
    return 0


def train_evaluate(
    config: ml_collections.ConfigDict,
    home: Path,
    prepare: Callable[[], prepared.Prepared],
    *,
    callbacks: Sequence[writers.Callback] = (),
    say: Callable[[str], object] = print,
) -> Outcome:
    """Prepare the data, train in the folder `home`, evaluate.

    Args:
        config: checked.
        home: the working directory, new or of the same run.
        prepare: gives the data set.
        callbacks: called with each logged line; one that returns True ends training.
        say: is given each result as text.
    """
    distributed.once(lambda: starting_weights.check(config, home))
    sent = configs.without_paths(configs.flatten(config))
    further = trackers.trackers(config.train.trackers, home.resolve(), sent)
    data = prepare()
    with distributed.in_first_process(locks.held(home, "choose another --workdir")):
        contours = input_contours.prepare(config, data, home)
        distributed.once(
            lambda: workdir.create_or_check(home, config, data.fingerprint)
        )
        run = wiring.Run(config, data, home, contours)
        averaging.runs(run)  # an error before training, not after it
        listener = writers.Listener(callbacks)
        with stopping.defer_signals() as stop_requested:
            finished = run.train(
                lambda: stop_requested() or listener.stop, also=[listener, *further]
            )
        distributed.once(lambda: str(model_card.write(run)))
        summaries = {}
        for split in config.evaluate.splits:
            summaries[split] = results.evaluate_split(run, split)
            if distributed.is_first():
                say(summary.text(summaries[split], run.site))
        distributed.once(lambda: _write_pictures_and_card(run, say))
    return Outcome(finished, summaries)


def _write_pictures_and_card(run: wiring.Run, say: Callable[[str], object]) -> None:
    say(f"training curves: {results.draw_training_curves(run)}")
    for split in run.config.evaluate.splits:
        say(f"picture: {results.draw_median_patient(run, split)}")
    say(f"model card: {model_card.write(run)}")
