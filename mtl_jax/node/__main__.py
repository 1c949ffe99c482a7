"""A DICOM node: takes CTs by C-STORE, predicts, and sends RTSTRUCT and RTDOSE back.

    python -m mtl_jax.node [--checkpoint=DIR|NAME[,...]] [--port=11112]
        [--ae_title=MTL_JAX] [--send_to=HOST:PORT,AE] [--allow=AE@ADDRESS[:PORT]]...

For research only: the output is AI-generated, and not for clinical use.
Exit status: 1 bad input, or a prediction that takes too long; 2 usage; 75 stopped.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mtl_jax.core import command_line, errors
from mtl_jax.node import limits as node_limits
from mtl_jax.node import peers
from mtl_jax.sources.clinical import reading_flags
from mtl_jax.zoo import packaged

T = TypeVar("T")
# What the extra `node` installs.
NEEDED = ("prometheus_client", "pynetdicom")


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = command_line.parser(
        "node",
        "mtl_jax.node",
        "A DICOM node that predicts the CTs sent to it, for research only.",
        "--checkpoint=multi --port=11112 --send_to=localhost:4242,ARCHIVE",
    )
    parser.add_argument(
        "--checkpoint",
        type=command_line.paths,
        default=packaged.DEFAULT,
        metavar="DIR|NAME[,...]",
        help="as of mtl_jax.predict (default: %(default)s)",
    )
    parser.add_argument(
        "--ae_title",
        type=_checked(peers.parse_title),
        default="MTL_JAX",
        help="the node's own AE title (default: %(default)s)",
    )
    parser.add_argument(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen for DICOM (default: %(default)s, this machine only)",
    )
    parser.add_argument(
        "--port",
        type=_checked(peers.parse_port),
        default=11112,
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--allow",
        type=_checked(peers.parse_sender),
        action="append",
        metavar="AE@ADDRESS[:PORT]",
        help="a sender: its AE title, its address or network, and, if it answers "
        "C-FIND, the port for that; may be given several times (default: any title "
        "on this machine)",
    )
    parser.add_argument(
        "--send_to",
        type=_checked(peers.parse_archive),
        metavar="HOST:PORT,AE",
        help="where results are sent (default: they stay in --state)",
    )
    _add_other_flags(parser)
    flags = parser.parse_args(arguments)
    if flags.allow is None and not peers.is_this_machine(flags.bind):
        parser.error("--bind is open to other machines: name the senders by --allow")
    flags.allow = flags.allow or list(peers.THIS_MACHINE)
    return flags


def _add_other_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=command_line.path,
        default=Path("runs/node"),
        help="folder of the queue and the results (default: %(default)s)",
    )
    parser.add_argument(
        "--web_bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen for browsers (default: %(default)s)",
    )
    parser.add_argument(
        "--web_port",
        type=_checked(peers.parse_port),
        default=11180,
        help="port of the page, /health and /metrics (default: %(default)s)",
    )
    reading_flags.add_accept(parser)
    node_limits.add_flags(parser)


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """`parse` as the type of a flag: its ValueError is a usage error, with its text."""

    def parse_flag(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_flag


def main(arguments: list[str]) -> int:
    """The command; returns the exit status."""
    flags = parse_flags(arguments)
    try:
        from mtl_jax.node import serving  # takes seconds: after the flags
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        return errors.print_error(
            f"the node needs {error.name}: pip install 'mtl-jax[node]'", 1
        )
    return serving.serve(flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
