"""Report what a folder of DICOM patients holds, and which patients are refused.

    python -m mtl_jax.cohort MANUAL_DIR [--out=DIR] [--site=prostate] [--survey]

Exit status: 0 done; 1 bad input, or no patient can be accepted; 2 wrong usage.
"""

import argparse
import sys
from pathlib import Path

from mtl_jax.core import command_line, errors, sites
from mtl_jax.sources.clinical import reading_flags


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command_line.parser(
        "cohort",
        "mtl_jax.cohort",
        "Reads every patient in a folder, and reports what the cohort holds and which "
        "patients are refused.",
        "patients/ --site=prostate --out=report",
    )
    group = parser.add_argument_group("input and output")
    group.add_argument(
        "manual_dir", type=Path, help="folder that holds one folder for each patient"
    )
    group.add_argument(
        "--out",
        type=Path,
        default=Path("runs/cohort"),
        help="folder to write the report into (default: %(default)s)",
    )
    group.add_argument(
        "--mapping",
        type=Path,
        help="file that maps ROI names to structures (default: mapping.yaml in the "
        "folder, if there is one)",
    )
    group.add_argument(
        "--survey",
        action="store_true",
        help="only print the names of all ROIs, as a mapping file to fill in",
    )
    group.add_argument(
        "--workers",
        type=int,
        choices=(1, 2),
        default=2,
        help="number of processes that read patients (default: %(default)s)",
    )
    reading_flags.add(parser.add_argument_group("reading of DICOM files"))
    flags = parser.parse_args(arguments)
    reading_flags.check(parser, flags)
    return flags


def run(flags: argparse.Namespace) -> int:
    """Print the survey or write the report; returns the exit status."""
    # These take seconds to import: after the flags.
    from mtl_jax.cohort import csv_files, html_report, inventory
    from mtl_jax.sources.clinical import patient_folders

    options = reading_flags.options(flags)
    patient_folders.check_apart(flags.out, flags.manual_dir, "--out")
    rules = patient_folders.Rules(options, mapping_file=flags.mapping)
    location = patient_folders.locate(flags.manual_dir, sites.get(flags.site), rules)
    if location is None:
        raise errors.SourceError(
            "the manual_dir is empty or is not a folder; "
            f"{patient_folders.INSTRUCTIONS}"
        )
    if location.loose:
        print(
            f"{location.loose} DICOM files that lie directly in the manual_dir are "
            f"ignored; {patient_folders.INSTRUCTIONS}",
            file=sys.stderr,
        )
    if flags.survey:
        mapping, failures = inventory.survey(location, flags.workers)
        print(mapping, end="")
        for failure in failures:
            print(failure, file=sys.stderr)
        return 0
    cohort = inventory.examine(location, flags.out / "pictures", flags.workers)
    csv_files.write(cohort, flags.out)
    reading = {name: str(value) for name, value in vars(options).items()}
    path = html_report.write(cohort, flags.out, reading)
    print(html_report.summarise(cohort))
    print(f"report: {path}")
    if not cohort.accepted:
        raise errors.SourceError(
            "no patient can be accepted; the report gives the reason for each patient"
        )
    return 0


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    flags = parse_flags(arguments)
    try:
        return run(flags)
    except (errors.MtlError, OSError) as error:
        return errors.print_error(error, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
