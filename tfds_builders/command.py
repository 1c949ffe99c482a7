"""The build and the summary that all commands of a builder share.

Exit status: 0 built, or there already; 1 bad input, with one message; 2 usage.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from mtl_jax.core import errors
from tfds_builders import beam, shared_builder


def build(
    builder: shared_builder.PatientBuilder, flags: argparse.Namespace, **download: Any
) -> Path:
    """Build the data set if it is missing or overwritten; returns its folder."""
    modes = tfds.download.GenerateMode
    overwrite, reuse = modes.REUSE_CACHE_IF_EXISTS, modes.REUSE_DATASET_IF_EXISTS
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=flags.manual_dir,
            download_mode=overwrite if flags.overwrite else reuse,
            beam_options=beam.options(flags.beam_pipeline_options),
            **download,
        )
    )
    return Path(builder.data_path)


def run(build_data_set: Callable[[], Any]) -> int:
    """Call `build_data_set` and print a summary of its Prepared; returns the status."""
    try:
        data = build_data_set()
    except (errors.MtlError, OSError) as error:
        return errors.print_error(error, 1)
    for split in data.splits.values():
        print(
            f"{split.name}: {len(split.patients)} patients, {len(split.source)} slices"
        )
    for note in data.notes():
        print(f"note: {note}")
    print(f"built from {data.origin.description}")
    print(data.path)
    return 0
