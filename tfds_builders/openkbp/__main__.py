"""Build the data set `openkbp` without TensorFlow: flags and wiring.

    python -m tfds_builders.openkbp --manual_dir=DIR [--data_dir=DIR] [--cohort=paper]

Exit status: 0 built, or there already; 1 bad input, with one message; 2 usage.
"""

import argparse
import sys

from mtl_jax.datasets import prepared
from tfds_builders import command, flags
from tfds_builders.openkbp import openkbp_dataset_builder


def build(chosen: argparse.Namespace) -> prepared.Prepared:
    """The data set that the `chosen` flags describe."""
    builder = openkbp_dataset_builder.Builder(
        config=chosen.cohort, data_dir=chosen.data_dir, workers=chosen.workers
    )
    path = command.build(builder, chosen, register_checksums=chosen.register_checksums)
    return prepared.open_directory(path)


def main(arguments: list[str]) -> int:
    """Build, print a summary, and return the exit status."""
    chosen = flags.openkbp(arguments)
    return command.run(lambda: build(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
