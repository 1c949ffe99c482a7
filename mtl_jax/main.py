"""Prepares the data if needed, trains one role, and evaluates the test split.

    python -m mtl_jax.main --config=configs/openkbp.py[:ROLE] [--config.KEY=VALUE ...]

Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
"""

from mtl_jax.core import locks
from mtl_jax.evaluation import summary
from mtl_jax.run import (
    command,
    input_contours,
    model_card,
    results,
    stopping,
    wiring,
    workdir,
)
from mtl_jax.train import distributed


def run() -> int:
    """Prepare, train, evaluate; returns the exit status."""
    config = command.config()
    home = command.workdir(below=config.role)
    data = command.prepare(config)
    with distributed.at_first(locks.held(home, "choose another --workdir")):
        drawn = input_contours.provide(config, data, home)
        distributed.once(lambda: workdir.claim(home, config, data.fingerprint))
        this = wiring.Run(config, data, home, drawn)
        with stopping.noted() as asked:
            this.train(asked)
        distributed.once(lambda: str(model_card.write(this)))
        for split in config.evaluate.splits:
            found = results.evaluate_split(this, split)
            if distributed.is_first():
                print(summary.text(found, this.site))
        distributed.once(lambda: _draw(this))
    return 0


def _draw(this: wiring.Run) -> None:
    """The pictures, and the card that tells what the network is."""
    print(f"training curves: {results.curves(this)}")
    for split in this.config.evaluate.splits:
        print(f"picture: {results.picture(this, split)}")
    print(f"model card: {model_card.write(this)}")


if __name__ == "__main__":
    command.start(run)
