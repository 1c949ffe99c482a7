"""Packs a trained network, so that it can come with the package.

    python -m mtl_jax.pack WORKDIR [--name=NAME] [--out=DIR] [--licence=TEXT]

Exit status: 0 done; 1 bad input or data; 2 usage.
"""

import argparse
import re
import sys
from pathlib import Path

from mtl_jax.core import command_line, errors
from mtl_jax.zoo import packaged


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command_line.parser(
        "pack",
        "mtl_jax.pack",
        "Writes the evaluated network of a run in half precision, with its description "
        "and model card.",
        "runs/openkbp_best/multi --out=networks",
    )
    parser.add_argument(
        "workdir", type=Path, help="working directory, trained and evaluated"
    )
    parser.add_argument(
        "--name",
        type=_name,
        help="name of the network, as `predict --checkpoint=NAME` takes it (default: "
        "that of the working directory)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=packaged.FOLDER,
        help="folder for the network's folder (default: that of the package)",
    )
    parser.add_argument(
        "--licence",
        help="terms under which the data were used; needed for data other than "
        "OpenKBP's and phantoms",
    )
    return parser.parse_args(arguments)


def _name(text: str) -> str:
    if not re.fullmatch("[a-z][a-z0-9_-]*", text):
        raise argparse.ArgumentTypeError(
            "give small letters, digits, '_' and '-', beginning with a letter"
        )
    return text


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    flags = parse_flags(arguments)
    from mtl_jax.pack import packing  # takes seconds: after the flags

    try:
        name = flags.name or _name(flags.workdir.resolve().name)
        made = packing.pack(flags.workdir, name, flags.out, flags.licence)
    except argparse.ArgumentTypeError as error:
        return errors.print_error(f"--name is missing: {error}", 2)
    except (errors.MtlError, OSError) as error:
        return errors.print_error(error, 1)
    print(packaged.introduce(made))
    print(f"{made['bytes'] / 1e6:.1f} MB in {flags.out / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
