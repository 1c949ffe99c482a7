"""Build the data set `openkbp` without TensorFlow: flags and wiring.

    python -m tfds_builders.openkbp --manual_dir=DIR [--data_dir=DIR] [--cohort=paper]

Exit status: 0 built, or there already; 1 bad input, with one message; 2 usage.
"""

import argparse
import sys

from mtl_jax.datasets import prepared
from mtl_jax.sources.openkbp import provided_data
from tfds_builders import command
from tfds_builders.openkbp import openkbp_dataset_builder


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command.make_parser(
        "openkbp",
        "Builds the data set openkbp from the challenge's files.",
        "folder with the challenge's provided-data, unpacked or as archives; "
        "default: downloads/manual in the data_dir; if that is empty, the public "
        f"archive is downloaded ({provided_data.PUBLIC_ARCHIVE})",
    )
    parser.add_argument(
        "--cohort",
        choices=tuple(openkbp_dataset_builder.Builder.builder_configs),
        default="paper",
        help="paper: only test patients with all four organs; official: all patients "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--register_checksums",
        action="store_true",
        help="record the checksum of the downloaded archive beside the builder",
    )
    return command.parse(parser, arguments)


def build(flags: argparse.Namespace) -> prepared.Prepared:
    """The data set that the flags describe."""
    builder = openkbp_dataset_builder.Builder(
        config=flags.cohort, data_dir=flags.data_dir, workers=flags.workers
    )
    path = command.build(builder, flags, register_checksums=flags.register_checksums)
    return prepared.open_directory(path)


def main(arguments: list[str]) -> int:
    """Build, print a summary, and return the exit status."""
    flags = parse_flags(arguments)
    return command.run(lambda: build(flags))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
