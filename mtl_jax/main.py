"""Prepares the data if needed, trains one role, and evaluates the test split.

    python -m mtl_jax.main --config=configs/openkbp.py[:ROLE] [--config.KEY=VALUE ...]

Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
"""

import logging

from mtl_jax.study import command, contours, results, runs, summary, workdir

logger = logging.getLogger("mtl_jax")


def run() -> int:
    """Prepare, train, evaluate; returns the exit status."""
    config = command.config()
    home = command.workdir(below=config.role)
    data = command.prepare(config)
    drawn = contours.provide(config, data, home)
    workdir.claim(home, config, data.fingerprint)
    this = runs.Run(config, data, home, drawn)
    with command.asked_to_stop() as asked:
        finished = this.train(asked)
    if not finished:
        logger.warning("stopped at a saved step; the same command goes on from there")
        return command.PREEMPTED
    for split in config.evaluate.splits:
        print(summary.text(results.evaluate_split(this, split), this.site))
    print(f"training curves: {results.curves(this)}")
    for split in config.evaluate.splits:
        print(f"picture: {results.picture(this, split)}")
    return 0


if __name__ == "__main__":
    command.start(run)
