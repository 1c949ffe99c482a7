"""Reports what a folder of DICOM patients holds, what would be refused, and why.

    python -m mtl_jax.cohort MANUAL_DIR [--out=DIR] [--site=prostate] [--survey]

Exit status: 0 done; 1 bad input, or no patient that can be read; 2 usage.
"""

import argparse
import sys
from pathlib import Path

from mtl_jax.core import errors, sites
from mtl_jax.sources import cohort_folder, dicom_patient
from mtl_jax.study import quality, quality_csv, quality_report


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
    parser.add_argument(
        "--site",
        default="prostate",
        help="a site of ours, or the path of a site file (default: %(default)s)",
    )
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
        choices=(1, 2),
        default=2,
        help="processes that read patients (default: %(default)s)",
    )
    flags = parser.parse_args(arguments)
    if flags.fill_gaps < 0:
        parser.error(f"--fill_gaps is {flags.fill_gaps}, expected 0 or more")
    return flags


def run(flags: argparse.Namespace) -> int:
    """Survey, or examine and write; returns the exit status."""
    options = dicom_patient.Options(
        allow_frame_mismatch=flags.allow_frame_mismatch,
        allow_missing=flags.allow_missing,
        fill_gaps=flags.fill_gaps,
    )
    rules = cohort_folder.Rules(options, mapping_file=flags.mapping)
    location = cohort_folder.locate(flags.manual_dir, sites.get(flags.site), rules)
    if location is None:
        raise errors.SourceError(
            f"the manual_dir is empty, or not a folder; {cohort_folder.WHAT_TO_PUT}"
        )
    if flags.survey:
        mapping, failed = quality.survey(location, flags.workers)
        print(mapping, end="")
        for why in failed:
            print(why, file=sys.stderr)
        return 0
    found = quality.examine(location, flags.out / "pictures", flags.workers)
    how = {name: str(value) for name, value in vars(options).items()}
    quality_csv.write(found, flags.out)
    path = quality_report.write(found, flags.out, how)
    print(quality_report.text(found))
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
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
