"""The build of the commands that make a data set of DICOM patients.

Input: the values of the flags. Output: the folder of the data set that was built.
"""

import argparse
import logging
from pathlib import Path

from mtl_jax.core import sites
from mtl_jax.sources.clinical import patient_folders, reading_flags
from tfds_builders import command
from tfds_builders.dicom import dicom_dataset_builder


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
