"""The flags of the commands that build a data set.

Input: command-line arguments. Output: the values of the flags, or a message and the
exit status. It loads without TFDS.
"""

import argparse
from pathlib import Path

from mtl_jax.core import command_line
from mtl_jax.sources.clinical import reading_flags


def openkbp(arguments: list[str]) -> argparse.Namespace:
    """The flags of the builder `openkbp`; exits with status 2 if they are wrong."""
    parser = _parser(
        "openkbp",
        "Builds the data set openkbp from the challenge's files.",
        "--manual_dir=provided-data",
    )
    group = _add_files(
        parser,
        "folder with the challenge's provided-data, unpacked or as archives; default: "
        "downloads/manual in the data_dir; if that is empty, the public archive is "
        "downloaded (github.com/ababier/open-kbp)",
    )
    group.add_argument(
        "--cohort",
        choices=("paper", "official", "phantom"),
        default="paper",
        help="paper: only test patients with all four organs; official: all patients "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--register_checksums",
        action="store_true",
        help="record the checksum of the downloaded archive beside the builder",
    )
    return _parse(parser, arguments)


def dicom(arguments: list[str]) -> argparse.Namespace:
    """The flags of the builder `dicom`, which needs `--site`."""
    return _of_dicom_patients("dicom", arguments, site=None)


def prostate(arguments: list[str]) -> argparse.Namespace:
    """The flags of the builder `prostate`."""
    return _of_dicom_patients("prostate", arguments, site="prostate")


def nifti(arguments: list[str]) -> argparse.Namespace:
    """The flags of the builder `nifti`, which needs `--site`."""
    return _of_patients(
        "nifti",
        arguments,
        site=None,
        description="Builds the data set nifti from a folder in the layout of nnU-Net "
        "or of MONAI's decathlon.",
        example="--site=lung.yaml --manual_dir=nnUNet_raw/Dataset101_Lung",
        manual_dir="folder with dataset.json, CTs, label maps and doses, optional "
        "mapping.yaml and splits.csv",
        kind="NIfTI",
    )


PARSERS = {"openkbp": openkbp, "dicom": dicom, "prostate": prostate, "nifti": nifti}


def _of_dicom_patients(
    name: str, arguments: list[str], *, site: str | None
) -> argparse.Namespace:
    return _of_patients(
        name,
        arguments,
        site=site,
        description=f"Builds the data set {name} from a folder of DICOM patients.",
        example=f"{'' if site else '--site=lung.yaml '}--manual_dir=patients",
        manual_dir="folder with one folder per patient, optional mapping.yaml and "
        "splits.csv",
        kind="DICOM",
    )


def _of_patients(
    name: str,
    arguments: list[str],
    *,
    site: str | None,
    description: str,
    example: str,
    manual_dir: str,
    kind: str,
) -> argparse.Namespace:
    """The flags of a builder of a clinic's patients, whose files are of `kind`."""
    parser = _parser(name, description, example)
    group = _add_files(
        parser, f"{manual_dir}; default: downloads/manual in the data_dir"
    )
    group.add_argument(
        "--refused",
        choices=("skip", "error"),
        default="skip",
        help="skip patients that cannot be read, or stop the build with an error "
        "(default: %(default)s)",
    )
    reading_flags.add(parser.add_argument_group(f"reading of {kind} files"), site=site)
    flags = _parse(parser, arguments)
    reading_flags.check(parser, flags)
    return flags


def _parser(name: str, description: str, example: str) -> argparse.ArgumentParser:
    return command_line.parser(
        f"build {name}", f"tfds_builders.{name}", description, example
    )


def _add_files(
    parser: argparse.ArgumentParser, manual_dir: str
) -> argparse._ArgumentGroup:
    """Add what all builders share; `manual_dir` is the help text of that flag."""
    group = parser.add_argument_group("input and output")
    group.add_argument("--manual_dir", type=Path, help=manual_dir)
    group.add_argument(
        "--data_dir",
        type=Path,
        help="folder of data sets; default: $TFDS_DATA_DIR or ~/tensorflow_datasets",
    )
    group.add_argument(
        "--workers",
        type=int,
        default=2,
        help="processes that read patients (default: %(default)s)",
    )
    group.add_argument(
        "--beam_pipeline_options",
        metavar="NAME=VALUE,...",
        help="build by Apache Beam (extra `beam`) with these options, for instance "
        "runner=DirectRunner; --workers then has no effect "
        "(docs/how-to/build-on-many-machines.md)",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="build again, and replace the existing data set when the build is done",
    )
    return group


def _parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    flags = parser.parse_args(arguments)
    if flags.workers < 1:
        parser.error(f"--workers is {flags.workers}, expected 1 or more")
    return flags
