"""Prepares the data if needed, trains one role, and evaluates the test split.

    python -m mtl_jax.main --config=configs/openkbp.py[:ROLE] [--config.KEY=VALUE ...]

Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
It uses huge pages where it can (core/huge_pages).
"""

if __name__ == "__main__":
    from mtl_jax.core import huge_pages

    huge_pages.use()

import sys
from typing import NoReturn

from mtl_jax.run import flags


def main(arguments: list[str]) -> NoReturn:
    """The command; ends with its exit status."""
    flags.parse_or_help(
        arguments,
        "train",
        "mtl_jax.main",
        "Prepares the data if needed, trains one role, and evaluates the test split.",
        "--config=demo:multi --config.train.steps=500",
    )
    from mtl_jax.run import command, one_run  # takes seconds: after the flags

    command.start(one_run.prepare_train_evaluate)


if __name__ == "__main__":
    main(sys.argv[1:])
