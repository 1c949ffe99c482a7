"""Flags and build of the commands that make a data set of DICOM patients.

Input: command-line arguments. Output: the folder of the data set that was built.
"""

import argparse
import logging
from pathlib import Path

from mtl_jax.core import sites
from mtl_jax.sources.clinical import patient_folders, reading_flags
from tfds_builders import command
from tfds_builders.dicom import dicom_dataset_builder


def parse_flags(
    name: str, arguments: list[str], *, site: str | None
) -> argparse.Namespace:
    """The flags of the command of builder `name`; exits with status 2 if wrong.

    `site` is the default of `--site`, which is required without one.
    """
    parser = command.make_parser(
        name,
        f"Builds the data set {name} from a folder of DICOM patients.",
        "folder with one folder per patient, optional mapping.yaml and splits.csv; "
        "default: downloads/manual in the data_dir",
    )
    reading_flags.add(parser, site=site)
    parser.add_argument(
        "--refused",
        choices=("skip", "error"),
        default="skip",
        help="skip patients that cannot be read, or stop the build with an error "
        "(default: %(default)s)",
    )
    flags = command.parse(parser, arguments)
    reading_flags.check(parser, flags)
    return flags


def build(
    builder_class: type[dicom_dataset_builder.Builder], flags: argparse.Namespace
) -> Path:
    """The folder of the data set that the flags describe, built if it is missing."""
    logging.basicConfig(format="%(levelname)s: %(message)s")  # of patients left out
    builder = builder_class(
        site=sites.get(flags.site),
        rules=patient_folders.Rules(reading_flags.options(flags)),
        refused=flags.refused,
        data_dir=flags.data_dir,
        workers=flags.workers,
    )
    path = command.build(builder, flags)
    if builder.refusals:
        print(f"left out: {len(builder.refusals)} patients, see the warnings above")
    return path
