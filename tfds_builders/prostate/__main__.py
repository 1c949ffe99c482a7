"""Build the data set `prostate` without TensorFlow: flags and wiring.

    python -m tfds_builders.prostate --manual_dir=DIR [--data_dir=DIR] [--site=prostate]

Exit status: 0 built, or there already; 1 bad input, said in one message; 2 usage.
"""

import argparse
import logging
import sys

from mtl_jax.core import sites
from mtl_jax.datasets import prepared
from mtl_jax.sources.clinical import patient_folders, reading_flags
from tfds_builders import command
from tfds_builders.prostate import prostate_dataset_builder


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command.make_parser(
        "prostate",
        "Builds the data set prostate from a folder of DICOM patients.",
        "folder with one folder a patient, and perhaps mapping.yaml and splits.csv; "
        "default: downloads/manual in the data_dir",
    )
    reading_flags.add(parser)
    parser.add_argument(
        "--refused",
        choices=("skip", "error"),
        default="skip",
        help="patients that cannot be read are left out, or end the build "
        "(default: %(default)s)",
    )
    flags = command.parse(parser, arguments)
    reading_flags.check(parser, flags)
    return flags


def build(flags: argparse.Namespace) -> prepared.Prepared:
    """The data set that the flags ask for."""
    builder = prostate_dataset_builder.Builder(
        site=sites.get(flags.site),
        rules=patient_folders.Rules(reading_flags.options(flags)),
        refused=flags.refused,
        data_dir=flags.data_dir,
        workers=flags.workers,
    )
    path = command.build(builder, flags)
    if builder.refusals:
        print(f"left out: {len(builder.refusals)} patients, as warned of above")
    return prepared.open_directory(path)


def main(arguments: list[str]) -> int:
    """Build, say what there is now, and return the exit status."""
    flags = parse_flags(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    return command.run(lambda: build(flags))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
