"""Reports what a folder of DICOM patients holds, what would be refused, and why.

    python -m mtl_jax.cohort MANUAL_DIR [--out=DIR] [--site=prostate] [--survey]

Exit status: 0 done; 1 bad input, or no patient that can be read; 2 usage.
"""

import argparse
import sys
from pathlib import Path

from mtl_jax.cohort import csv_files, html_report, inventory
from mtl_jax.core import errors, sites
from mtl_jax.sources.clinical import patient_folders, reading_flags


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m mtl_jax.cohort",
        description="Reads every patient of a folder and reports what it found.",
    )
    parser.add_argument(
        "manual_dir", type=Path, help="folder with one folder a patient"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/cohort"),
        help="where the report goes (default: %(default)s)",
    )
    reading_flags.add(parser)
    parser.add_argument(
        "--mapping",
        type=Path,
        help="file that says which ROI is which structure; default: mapping.yaml in "
        "the folder, if it is there",
    )
    parser.add_argument(
        "--survey",
        action="store_true",
        help="print the names of all ROIs as a mapping file to fill in, and end",
    )
    parser.add_argument(
        "--workers",
        type=int,
        choices=(1, 2),
        default=2,
        help="processes that read patients (default: %(default)s)",
    )
    flags = parser.parse_args(arguments)
    reading_flags.check(parser, flags)
    return flags


def run(flags: argparse.Namespace) -> int:
    """Survey, or examine and write; returns the exit status."""
    options = reading_flags.options(flags)
    patient_folders.check_apart(flags.out, flags.manual_dir, "--out")
    rules = patient_folders.Rules(options, mapping_file=flags.mapping)
    location = patient_folders.locate(flags.manual_dir, sites.get(flags.site), rules)
    if location is None:
        raise errors.SourceError(
            f"the manual_dir is empty, or not a folder; {patient_folders.INSTRUCTIONS}"
        )
    if location.loose:
        print(
            f"left out: {location.loose} DICOM files that lie directly in the "
            f"manual_dir; {patient_folders.INSTRUCTIONS}",
            file=sys.stderr,
        )
    if flags.survey:
        mapping, failed = inventory.survey(location, flags.workers)
        print(mapping, end="")
        for why in failed:
            print(why, file=sys.stderr)
        return 0
    found = inventory.examine(location, flags.out / "pictures", flags.workers)
    how = {name: str(value) for name, value in vars(options).items()}
    csv_files.write(found, flags.out)
    path = html_report.write(found, flags.out, how)
    print(html_report.text(found))
    print(f"report: {path}")
    if not found.taken:
        raise errors.SourceError("no patient can be taken; the report says why")
    return 0


def main(arguments: list[str]) -> int:
    """The command; returns the exit status."""
    flags = parse_flags(arguments)
    try:
        return run(flags)
    except (errors.MtlError, OSError) as error:
        return errors.tell(error, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
