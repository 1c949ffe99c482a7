"""Writes a trained network as a program that runs without this package.

    python -m mtl_jax.portable NETWORK [--format=stablehlo|onnx] [--out=DIR]

For research only: the output is AI-generated, and not for clinical use.
Exit status: 0 done; 1 bad input, or the program differs from the network; 2 usage.
"""

import argparse
import sys
from pathlib import Path

from mtl_jax.core import command_line, errors
from mtl_jax.zoo import packaged

PLATFORMS = ("cpu", "cuda", "tpu")
FORMATS = ("stablehlo", "onnx")


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command_line.parser(
        "export",
        "mtl_jax.portable",
        "Writes a trained network as a program that runs without this package: "
        "StableHLO for JAX, or ONNX. Beside it: what its input must be, and an "
        "example.\nThe program is run, and compared with the network.",
        "multi --out=exported",
    )
    parser.add_argument(
        "network",
        type=command_line.path,
        help="a working directory, its folder `checkpoints`, one of the steps in it, "
        "or the name of a network that comes with the package "
        f"({', '.join(packaged.names()) or 'none'})",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help="(default: %(default)s)"
    )
    parser.add_argument(
        "--platforms",
        type=_platforms,
        default=PLATFORMS,
        metavar="NAME,...",
        help="where a StableHLO program can run (default: "
        f"{','.join(PLATFORMS)}: NVIDIA's GPUs are `cuda`)",
    )
    parser.add_argument(
        "--out",
        type=command_line.path,
        help="folder for the program (default: runs/export/NAME)",
    )
    flags = parser.parse_args(arguments)
    flags.out = flags.out or Path("runs/export") / flags.network.resolve().name
    return flags


def _platforms(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in PLATFORMS]:
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(unknown)}; known: {', '.join(PLATFORMS)}"
        )
    return names


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    flags = parse_flags(arguments)
    from mtl_jax.portable import written_program  # takes seconds: after the flags

    try:
        made = written_program.write(
            flags.network, flags.out, flags.format, flags.platforms
        )
    except (errors.MtlError, OSError) as error:
        return errors.print_error(error, 1)
    for line in made.lines():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
