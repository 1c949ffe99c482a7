"""Command-line flags for reading DICOM patients.

Input: an argument parser. Output: its flags, and the reader options they describe.
"""

import argparse
from typing import TYPE_CHECKING

from mtl_jax.core import errors, note_kinds

if TYPE_CHECKING:
    from mtl_jax.sources.dicom import reader


Group = argparse.ArgumentParser | argparse._ArgumentGroup


def add(parser: Group, *, site: str | None = "prostate") -> None:
    """Add the flags of the site and of the options; without `site`, it is required."""
    default = "required" if site is None else "default: %(default)s"
    parser.add_argument(
        "--site",
        default=site,
        required=site is None,
        help=f"name of a site, or path of a site file ({default})",
    )
    add_options(parser)


def add_options(parser: Group) -> None:
    """Add the options that are off by default."""
    for name, case in (
        ("allow_missing", "patients that lack a contoured structure"),
        (
            "allow_frame_mismatch",
            "contours and dose in another frame than the CT's",
        ),
    ):
        parser.add_argument(f"--{name}", action="store_true", help=f"accept {case}")
    parser.add_argument(
        "--show_paths",
        action="store_true",
        help="name files in messages and reports by their paths in the patient's "
        "folder, which may identify the patient, in place of kind and number",
    )
    parser.add_argument(
        "--fill_gaps",
        type=int,
        default=0,
        help="fill gaps of up to this many slices in a contour (default: %(default)s)",
    )
    add_accept(parser)


def add_accept(parser: Group) -> None:
    """Add the flag that takes what would be refused."""
    reasons = "; ".join(f"{name}: {what}" for name, what in note_kinds.REFUSING.items())
    parser.add_argument(
        "--accept",
        type=_reasons,
        default=(),
        metavar="NAME[,...]",
        help=f"take patients that would be refused for these reasons ({reasons})",
    )


def _reasons(text: str) -> tuple[str, ...]:
    """The names in `text` between commas; a usage error if one is unknown."""
    try:
        return note_kinds.check_names(filter(None, text.split(",")))
    except errors.ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check(parser: argparse.ArgumentParser, flags: argparse.Namespace) -> None:
    """Exit with status 2 if one of these flags is out of range."""
    if flags.fill_gaps < 0:
        parser.error(f"--fill_gaps is {flags.fill_gaps}, expected 0 or more")


def options(flags: argparse.Namespace) -> "reader.Options":
    """The reader options that the flags describe."""
    from mtl_jax.sources.dicom import reader  # takes seconds: after the flags

    return reader.Options(
        allow_frame_mismatch=flags.allow_frame_mismatch,
        allow_missing=flags.allow_missing,
        fill_gaps=flags.fill_gaps,
        accept=flags.accept,
        show_paths=flags.show_paths,
    )
