"""Predicts contours and dose of CTs, and writes them as RTSTRUCT and RTDOSE, or NIfTI.

    python -m mtl_jax.predict [--checkpoint=DIR|NAME[,...]] CT... [--out=DIR]

A CT is a folder (DICOM, OpenKBP), a folder of patients, or a NIfTI file. Without
`--checkpoint` the network `multi` that comes with the package predicts.

For research only: the output is AI-generated, and not for clinical use.
Exit status: 0 done; 1 bad input, or a patient failed; 2 usage; 75 stopped.
"""

import argparse
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import logging as absl_logging

from mtl_jax.core import command_line, errors, locks, roles
from mtl_jax.sources.clinical import reading_flags
from mtl_jax.zoo import packaged

if TYPE_CHECKING:
    from mtl_jax.predict import cases


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command_line.parser(
        "predict",
        "mtl_jax.predict",
        "Predicts contours and dose of CTs, for research only.",
        "patients/ --out=predicted --nifti",
    )
    network = parser.add_argument_group("input")
    network.add_argument(
        "ct_dir",
        type=command_line.path,
        nargs="+",
        metavar="CT_DIR",
        help="a patient's folder (a DICOM CT series, or OpenKBP's CSV files), a folder "
        "of such folders, or a CT as a NIfTI file (.nii, .nii.gz; Hounsfield units, "
        "axes along the patient's)",
    )
    network.add_argument(
        "--checkpoint",
        type=command_line.paths,
        metavar="DIR|NAME[,...]",
        help="a working directory, its folder `checkpoints`, or one of the steps in "
        "it; or the name of a network that comes with the package, if there is no such "
        f"folder (here: {', '.join(packaged.names()) or 'none'}; default: "
        f"{packaged.DEFAULT}); the predictions of several are averaged",
    )
    _add_file_flags(network)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=command_line.path,
        default=Path("runs/predict"),
        help="folder for the results, one subfolder per patient (default: %(default)s)",
    )
    _add_format_flags(output)
    output.add_argument(
        "--overwrite", action="store_true", help="predict finished patients again"
    )
    reading_flags.add_options(parser.add_argument_group("reading of DICOM files"))
    flags = parser.parse_args(arguments)
    reading_flags.check(parser, flags)
    if flags.with_plan and flags.reference_plan:
        parser.error("give --with_plan or --reference_plan: a dose has one plan")
    out = Path(os.path.realpath(flags.out))
    if any(out.is_relative_to(os.path.realpath(folder)) for folder in flags.ct_dir):
        parser.error("--out is inside a CT_DIR: choose a folder outside of it")
    return flags


def _add_format_flags(parser: argparse._ArgumentGroup) -> None:
    """Flags that say which files are written, and how."""
    parser.add_argument(
        "--nifti",
        action="store_true",
        help="also write NIfTI files (*.nii.gz); always for CTs that are NIfTI, in "
        "their order of axes",
    )
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="write DICOM files for OpenKBP patients too, in place of CSV, and for "
        "CTs that are NIfTI, beside it (with the CT, and an invented frame of "
        "reference)",
    )
    parser.add_argument(
        "--with_plan",
        action="store_true",
        help="write an RT Plan for the dose (RP.dcm, without beams, unapproved), for "
        "systems that show a dose only with its plan",
    )
    parser.add_argument(
        "--short_names",
        action="store_true",
        help="cut names of ROIs to 16 characters, for systems that do so themselves "
        "(Eclipse); names stay different",
    )


def _add_file_flags(parser: argparse._ArgumentGroup) -> None:
    """Flags that name files besides the CTs."""
    parser.add_argument(
        "--rtstruct",
        type=_path_or_auto,
        metavar="FILE|auto",
        help="RTSTRUCT for a role that needs contours as input; auto: the one in the "
        "patient's folder",
    )
    parser.add_argument(
        "--reference",
        type=_path_or_auto,
        metavar="DIR|auto",
        help="evaluate against the RTSTRUCT and RTDOSE in DIR; auto: in the patient's "
        "folder",
    )
    parser.add_argument(
        "--reference_plan",
        type=command_line.path,
        metavar="FILE",
        help="RT Plan that the exported dose refers to (default: none)",
    )
    parser.add_argument(
        "--refer_to_approved_plan",
        action="store_true",
        help="accept a --reference_plan that is approved: systems may then show the "
        "predicted dose as the dose of a plan that is to be treated",
    )
    parser.add_argument(
        "--mapping",
        type=command_line.path,
        help="file that maps ROI names to structures, for --rtstruct and --reference",
    )


def _path_or_auto(text: str) -> "cases.PathOrAuto":
    return "auto" if text == "auto" else command_line.path(text)


def usage_error(
    flags: argparse.Namespace, role: roles.Role, patients: "list[cases.CaseFolder]"
) -> str:
    """What is wrong with the flags for this role and these patients; '' if nothing."""
    needs = role.input.needs_rtstruct
    if needs and flags.rtstruct is None:
        return (
            f"the role {role.name} needs contours as input: give --rtstruct=FILE, or "
            "--rtstruct=auto for the RTSTRUCT in the patient's folder"
        )
    if flags.rtstruct is not None and not needs:
        return f"the role {role.name} takes no contours as input: remove --rtstruct"
    for name in ("rtstruct", "reference", "reference_plan"):
        path = getattr(flags, name)
        if path is not None and any(one.kind == "nifti" for one in patients):
            return (
                f"--{name} is for DICOM, and a CT here is a NIfTI file: remove it, or "
                "give the patient's DICOM files (masks: docs/how-to/use-from-python.md)"
            )
        if not isinstance(path, Path):
            continue
        if len(patients) > 1:
            return (
                f"--{name} belongs to one patient, but there are {len(patients)}: give "
                "one patient's folder"
            )
        if not path.exists():
            return f"--{name} names a file or folder that does not exist"
    return ""


def run(flags: argparse.Namespace) -> int:
    """Predict the patients that are not done; returns the exit status."""
    # These take seconds to import: after the flags.
    from mtl_jax.predict import averaged, cases, output_files, patient_loop
    from mtl_jax.sources.clinical import patient_folders

    networks = flags.checkpoint or [packaged.folder(packaged.DEFAULT)]
    model = averaged.describe(networks)
    for each in (model, *model.others):
        if each.introduction and not command_line.is_quiet():
            print(each.introduction)
        if each.training is None:
            print(
                "warning: an older version saved this checkpoint, without figures of "
                "its training data: CTs cannot be compared with them",
                file=sys.stderr,
            )
    patients = cases.find(flags.ct_dir, flags.out)
    if message := usage_error(flags, model.role, patients):
        return errors.print_error(message, 2)
    mapping = flags.mapping and patient_folders.load_mapping(flags.mapping, model.site)
    request = patient_loop.Request(
        model,
        flags.out,
        cases.ReadingOptions(reading_flags.options(flags), mapping or {}),
        flags.rtstruct,
        flags.reference,
        output_files.Formats(
            flags.dicom,
            flags.nifti,
            flags.reference_plan,
            flags.refer_to_approved_plan,
            flags.with_plan,
            flags.short_names,
        ),
    )
    with locks.held(flags.out, "give another --out"):
        return patient_loop.run(request, patients, overwrite=flags.overwrite)


def main(arguments: list[str]) -> int:
    """The command; returns the exit status."""
    flags = parse_flags(arguments)
    from mtl_jax.run import stopping
    from mtl_jax.train import compilation

    if isinstance(sys.stdout, io.TextIOWrapper):  # paths need not fit its encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax logs a lot
    command_line.set_log_level()
    compilation.keep_programs()
    try:
        with stopping.raise_on_signal():
            return run(flags)
    except stopping.Stopped:
        print("stopped; run the same command again to continue", file=sys.stderr)
        return stopping.STATUS
    except errors.MtlError as error:
        return errors.print_error(error, 1)
    except OSError as error:  # its path may name a patient
        reason = error.strerror or type(error).__name__
        return errors.print_error(f"a file cannot be read or written ({reason})", 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
