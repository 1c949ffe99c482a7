"""Prepares the data if needed, trains one role, and evaluates the test split.

    python -m mtl_jax.main --config=configs/openkbp.py[:ROLE] [--config.KEY=VALUE ...]

Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
It uses huge pages where it can (core/huge_pages).
"""

if __name__ == "__main__":
    from mtl_jax.core import huge_pages

    huge_pages.use()

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


def main() -> int:
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


if __name__ == "__main__":
    command.start(main)
