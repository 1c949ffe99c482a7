"""Build the data set `openkbp` without TensorFlow: flags and wiring.

    python -m tfds_builders.openkbp --manual_dir=DIR [--data_dir=DIR] [--cohort=paper]

Exit status: 0 built, or there already; 1 bad input, said in one message; 2 usage.
"""

import argparse
import sys
from pathlib import Path

import tensorflow_datasets as tfds

from mtl_jax.core import errors
from mtl_jax.datasets import prepared
from mtl_jax.sources import openkbp
from tfds_builders.openkbp import openkbp_dataset_builder


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tfds_builders.openkbp",
        description="Builds the data set openkbp from the challenge's files.",
    )
    parser.add_argument(
        "--manual_dir",
        type=Path,
        help="folder with the challenge's provided-data, unpacked or as archives; "
        "default: downloads/manual in the data_dir; with nothing there, the public "
        f"archive is downloaded ({openkbp.PUBLIC_ARCHIVE})",
    )
    parser.add_argument(
        "--data_dir",
        type=Path,
        help="where data sets are; default: $TFDS_DATA_DIR or ~/tensorflow_datasets",
    )
    parser.add_argument(
        "--cohort",
        choices=tuple(openkbp_dataset_builder.Builder.builder_configs),
        default="paper",
        help="paper: test patients that have the paper's four organs; official: all "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=2,
        help="processes that read patients (default: %(default)s)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="build again, and then replace the data set that is there",
    )
    parser.add_argument(
        "--register_checksums",
        action="store_true",
        help="record the downloaded archive's checksum beside the builder",
    )
    flags = parser.parse_args(arguments)
    if flags.workers < 1:
        parser.error(f"--workers is {flags.workers}, expected 1 or more")
    return flags


def build(flags: argparse.Namespace) -> prepared.Prepared:
    """The data set that the flags ask for."""
    modes = tfds.download.GenerateMode
    overwrite, keep = modes.REUSE_CACHE_IF_EXISTS, modes.REUSE_DATASET_IF_EXISTS
    builder = openkbp_dataset_builder.Builder(
        config=flags.cohort, data_dir=flags.data_dir, workers=flags.workers
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=flags.manual_dir,
            download_mode=overwrite if flags.overwrite else keep,
            register_checksums=flags.register_checksums,
        )
    )
    return prepared.open_directory(Path(builder.data_path))


def main(arguments: list[str]) -> int:
    """Build, say what there is now, and return the exit status."""
    flags = parse_flags(arguments)
    try:
        data = build(flags)
    except (errors.MtlError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for split in data.splits.values():
        print(
            f"{split.name}: {len(split.patients)} patients, {len(split.source)} slices"
        )
    print(f"built from {data.origin.description}")
    print(data.path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
