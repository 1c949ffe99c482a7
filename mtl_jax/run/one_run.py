"""One run from its data to its model card: what `python -m mtl_jax.main` does.

Input: the values of the flags. Output: a working directory, and the exit status.
"""

from mtl_jax.core import locks
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
from mtl_jax.train import distributed


def prepare_train_evaluate() -> int:
    """Prepare, train, evaluate; returns the exit status."""
    config = command.config()
    home = command.workdir(below=config.role)
    distributed.once(lambda: starting_weights.check(config, home))
    data = command.prepare(config)
    with distributed.in_first_process(locks.held(home, "choose another --workdir")):
        contours = input_contours.prepare(config, data, home)
        distributed.once(
            lambda: workdir.create_or_check(home, config, data.fingerprint)
        )
        run = wiring.Run(config, data, home, contours)
        averaging.runs(run)  # an error before training, not after it
        with stopping.defer_signals() as stop_requested:
            run.train(stop_requested)
        distributed.once(lambda: str(model_card.write(run)))
        for split in config.evaluate.splits:
            result = results.evaluate_split(run, split)
            if distributed.is_first():
                print(summary.text(result, run.site))
        distributed.once(lambda: _write_pictures_and_card(run))
    return 0


def _write_pictures_and_card(run: wiring.Run) -> None:
    print(f"training curves: {results.draw_training_curves(run)}")
    for split in run.config.evaluate.splits:
        print(f"picture: {results.draw_median_patient(run, split)}")
    print(f"model card: {model_card.write(run)}")
