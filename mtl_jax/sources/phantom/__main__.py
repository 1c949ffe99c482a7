"""Writes generated patients into a folder, to try the commands that read patients.

    python -m mtl_jax.sources.phantom DIR [--site=openkbp|prostate] [--patients=N]

Heads and necks are written as the OpenKBP challenge's CSV files, pelves as DICOM; both
with contours and dose. Exit status: 0 done; 1 the folder holds something else; 2 usage.
"""

import argparse
import sys
from pathlib import Path

from mtl_jax.core import command_line, errors, sites


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command_line.parser(
        "phantoms",
        "mtl_jax.sources.phantom",
        "Writes generated patients, with CT, contours and dose.",
        "new --site=prostate --patients=3",
    )
    parser.add_argument("folder", type=Path, help="folder for the patients; new")
    parser.add_argument(
        "--site",
        choices=(sites.OPENKBP.name, sites.PROSTATE.name),
        default=sites.OPENKBP.name,
        help="treatment site (default: %(default)s)",
    )
    parser.add_argument(
        "--patients", type=int, default=1, help="number of patients (default: 1)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="seed of the patients (default: 1; configurations train on seed 0)",
    )
    flags = parser.parse_args(arguments)
    if flags.patients < 1 or flags.seed < 0:
        parser.error("give 1 patient or more, and a seed of at least 0")
    return flags


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    flags = parse_flags(arguments)
    from mtl_jax.sources.phantom import dicom_cohort, head_and_neck  # takes seconds

    folder = flags.folder.expanduser()
    try:
        if flags.site == sites.PROSTATE.name:
            dicom_cohort.write_cohort(folder, seed=flags.seed, patients=flags.patients)
        else:
            head_and_neck.write_cohort(
                folder, seed=flags.seed, train=0, validation=0, test=flags.patients
            )
    except (errors.MtlError, OSError) as error:
        return errors.print_error(error, 1)
    print(f"{flags.patients} generated patients in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
