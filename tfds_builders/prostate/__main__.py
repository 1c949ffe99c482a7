"""Build the data set `prostate` without TensorFlow: flags and wiring.

    python -m tfds_builders.prostate --manual_dir=DIR [--data_dir=DIR] [--site=prostate]

Exit status: 0 built, or there already; 1 bad input, said in one message; 2 usage.
"""

import argparse
import logging
import sys
from pathlib import Path

import tensorflow_datasets as tfds

from mtl_jax.core import errors, sites
from mtl_jax.datasets import prepared
from mtl_jax.sources import cohort_folder, dicom_patient
from tfds_builders.prostate import prostate_dataset_builder


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tfds_builders.prostate",
        description="Builds the data set prostate from a folder of DICOM patients.",
    )
    parser.add_argument(
        "--manual_dir",
        type=Path,
        help="folder with one folder a patient, and perhaps mapping.yaml and "
        "splits.csv; default: downloads/manual in the data_dir",
    )
    parser.add_argument(
        "--data_dir",
        type=Path,
        help="where data sets are; default: $TFDS_DATA_DIR or ~/tensorflow_datasets",
    )
    parser.add_argument(
        "--site",
        default="prostate",
        help="a site of ours, or the path of a site file (default: %(default)s)",
    )
    parser.add_argument(
        "--refused",
        choices=("skip", "error"),
        default="skip",
        help="patients that cannot be read are left out, or end the build "
        "(default: %(default)s)",
    )
    for name, words in (
        ("allow_missing", "patients without an ROI for a contoured structure"),
        ("allow_frame_mismatch", "contours and dose in another frame than the CT's"),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=f"take {words}")
    parser.add_argument(
        "--fill_gaps",
        type=int,
        default=0,
        help="fill up to so many slices between two contours (default: %(default)s)",
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
    flags = parser.parse_args(arguments)
    for name, least in (("workers", 1), ("fill_gaps", 0)):
        if getattr(flags, name) < least:
            parser.error(
                f"--{name} is {getattr(flags, name)}, expected {least} or more"
            )
    return flags


def build(flags: argparse.Namespace) -> prepared.Prepared:
    """The data set that the flags ask for."""
    modes = tfds.download.GenerateMode
    overwrite, keep = modes.REUSE_CACHE_IF_EXISTS, modes.REUSE_DATASET_IF_EXISTS
    options = dicom_patient.Options(
        allow_frame_mismatch=flags.allow_frame_mismatch,
        allow_missing=flags.allow_missing,
        fill_gaps=flags.fill_gaps,
    )
    builder = prostate_dataset_builder.Builder(
        site=sites.get(flags.site),
        rules=cohort_folder.Rules(options),
        refused=flags.refused,
        data_dir=flags.data_dir,
        workers=flags.workers,
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(
            manual_dir=flags.manual_dir,
            download_mode=overwrite if flags.overwrite else keep,
        )
    )
    if builder.refusals:
        print(f"left out: {len(builder.refusals)} patients, as warned of above")
    return prepared.open_directory(Path(builder.data_path))


def main(arguments: list[str]) -> int:
    """Build, say what there is now, and return the exit status."""
    flags = parse_flags(arguments)
    logging.basicConfig(format="%(levelname)s: %(message)s")
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
