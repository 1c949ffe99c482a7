"""Contours and dose of a CT, as files that other software opens.

    python -m mtl_jax.predict --checkpoint=DIR CT_DIR... [--out=DIR] [--nifti]

For research only: what comes out is AI-generated, and not for clinical use.
Exit status: 0 done; 1 bad input, or a patient that failed; 2 usage; 75 stopped.
"""

import argparse
import io
import logging
import os
import sys
from pathlib import Path

from absl import flags as absl_flags
from absl import logging as absl_logging

from mtl_jax.core import errors, locks, roles
from mtl_jax.predict import (
    cases,
    inputs,
    output_files,
    patient_job,
    patient_queue,
    trained_model,
)
from mtl_jax.run import stopping
from mtl_jax.sources.clinical import patient_folders, reading_flags
from mtl_jax.train import compilation


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m mtl_jax.predict",
        description="Predicts contours and dose of CTs, for research only.",
    )
    parser.add_argument(
        "ct_dir",
        type=_path,
        nargs="+",
        help="a patient's folder (a DICOM CT series, or OpenKBP's CSV files), or a "
        "folder of such folders",
    )
    parser.add_argument(
        "--checkpoint",
        type=_path,
        required=True,
        help="a working directory, its folder `checkpoints`, or one of the steps in it",
    )
    parser.add_argument(
        "--out",
        type=_path,
        default=Path("runs/predict"),
        help="where a folder for each patient goes (default: %(default)s)",
    )
    parser.add_argument(
        "--nifti", action="store_true", help="write NIfTI files (*.nii.gz) too"
    )
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="of OpenKBP patients too, in a frame of reference that is invented",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make again what is done already"
    )
    _add_files(parser)
    reading_flags.add_options(parser)
    flags = parser.parse_args(arguments)
    reading_flags.check(parser, flags)
    out = Path(os.path.realpath(flags.out))
    if any(out.is_relative_to(os.path.realpath(folder)) for folder in flags.ct_dir):
        parser.error("--out lies in a CT_DIR; choose a place outside of the patients'")
    return flags


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Flags that name what lies beside the CTs."""
    parser.add_argument(
        "--rtstruct",
        type=_place,
        metavar="FILE|auto",
        help="contours for a role that takes them in; auto: in the patient's folder",
    )
    parser.add_argument(
        "--reference",
        type=_place,
        metavar="DIR|auto",
        help="evaluate against the RTSTRUCT and RTDOSE in it; auto: in the patient's "
        "folder",
    )
    parser.add_argument(
        "--reference_plan",
        type=_path,
        metavar="FILE",
        help="the RT Plan that the dose is of; by default it is of none",
    )
    parser.add_argument(
        "--mapping",
        type=_path,
        help="file that says which ROI is which structure, for --rtstruct and "
        "--reference",
    )


def _path(text: str) -> Path:
    """The path `text`; that of a variable that a script left empty is a mistake."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, found nothing")
    # Shells leave the ~ of --out=~/predicted as it is.
    return Path(os.path.expanduser(text))


def _place(text: str) -> cases.Place:
    return cases.AUTO if text == cases.AUTO else _path(text)


def usage(
    flags: argparse.Namespace, role: roles.Role, patients: list[inputs.Input]
) -> str:
    """What of the flags does not fit the role or the patients; '' if all does."""
    needs = role.input.needs_rtstruct
    if needs and flags.rtstruct is None:
        return (
            f"the role {role.name} takes in contours: give --rtstruct=FILE, or "
            "--rtstruct=auto for the RTSTRUCT in the patient's folder"
        )
    if flags.rtstruct is not None and not needs:
        return f"the role {role.name} takes in no contours: leave --rtstruct out"
    for name in ("rtstruct", "reference", "reference_plan"):
        place = getattr(flags, name)
        if not isinstance(place, Path):
            continue
        if len(patients) > 1:
            return f"--{name} is of one patient, and here are {len(patients)}"
        if not place.exists():
            return f"--{name} names a file or folder that is not there"
    return ""


def run(flags: argparse.Namespace) -> int:
    """Predict what is not done; returns the exit status."""
    about = trained_model.describe(flags.checkpoint)
    patients = inputs.find(flags.ct_dir, flags.out)
    if wrong := usage(flags, about.role, patients):
        return errors.tell(wrong, 2)
    mapping = flags.mapping and patient_folders.load_mapping(flags.mapping, about.site)
    order = patient_job.Order(
        about,
        flags.out,
        cases.How(reading_flags.options(flags), mapping or {}),
        flags.rtstruct,
        flags.reference,
        output_files.Formats(flags.dicom, flags.nifti, flags.reference_plan),
    )
    with locks.held(flags.out, "give another --out"):
        return patient_queue.run(order, patients, overwrite=flags.overwrite)


def main(arguments: list[str]) -> int:
    """The command; returns the exit status."""
    flags = parse_flags(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # paths need not be in its alphabet
        sys.stdout.reconfigure(errors="backslashreplace")
    if not absl_flags.FLAGS.is_parsed():
        absl_flags.FLAGS.mark_as_parsed()  # Grain asks for its flags, all as they are
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax says much
    logging.getLogger("mtl_jax").setLevel(logging.INFO)
    compilation.keep_programs()
    try:
        with stopping.raised():
            return run(flags)
    except stopping.Stopped:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return stopping.STATUS
    except errors.MtlError as error:
        return errors.tell(error, 1)
    except OSError as error:  # its path may name a patient
        reason = error.strerror or type(error).__name__
        return errors.tell(f"a file cannot be read or written ({reason})", 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
