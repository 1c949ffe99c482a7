"""What all commands share before they work: help, `--version`, `--quiet`.

Input: the command line. Output: a parser of flags. Nothing here takes time to import:
a command imports what it works with after its flags, so that `--help` and a wrong flag
are answered at once.
"""

import argparse
import logging
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

from mtl_jax import __version__
from mtl_jax.core import completion

SCRIPT = "mtl-jax"
QUIET_HELP = "no progress and no notes: only results, warnings and errors"
_QUIET = "MTL_JAX_QUIET"


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Line breaks of the description stay, and flags show the defaults they have."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = not action.help or "default" in action.help
        if said or action.default in (None, False, "", (), argparse.SUPPRESS):
            return action.help
        return f"{action.help} (default: %(default)s)"


class _Parser(argparse.ArgumentParser):
    """A parser that answers the shell's TAB key."""

    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        completion.answer(self)
        return super().parse_args(*args, **kwargs)


class _Quiet(argparse.Action):
    def __call__(self, *_: Any) -> None:
        be_quiet()


def parser(
    verb: str, module: str, description: str, example: str
) -> argparse.ArgumentParser:
    """A parser with the flags that all commands share.

    Args:
        verb: the command's name in the script, such as `predict`.
        module: the same for `python -m`.
        description: what the command does.
        example: arguments that a user could give.
    """
    program = name(verb, module)
    made = _Parser(
        prog=program,
        description="\n".join(map(textwrap.fill, description.split("\n"))),
        epilog=f"example:\n  {program} {example}".rstrip(),
        formatter_class=_Formatter,
        add_help=False,
    )
    common = made.add_argument_group("general")
    common.add_argument("-h", "--help", action="help", help="show this, and exit")
    common.add_argument(
        "--version",
        action="version",
        version=version(),
        help="show the package's version, and exit",
    )
    common.add_argument("--quiet", action=_Quiet, nargs=0, help=QUIET_HELP)
    return made


def name(verb: str, module: str) -> str:
    """How the command was started: `mtl-jax VERB` or `python -m MODULE`."""
    started = f"{SCRIPT} {verb}"
    return started if sys.argv[0] == started else f"python -m {module}"


def path(text: str) -> Path:
    """The path `text`; a usage error if it is empty, as from an unset variable."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, found nothing")
    # Shells do not expand the ~ of --out=~/predicted.
    return Path(os.path.expanduser(text))


def paths(text: str) -> list[Path]:
    """The paths in `text` between commas, or the one that has commas in its name."""
    if path(text).exists():
        return [path(text)]
    return [path(part) for part in text.split(",")]


def version() -> str:
    """Name and version of the package."""
    return f"{SCRIPT} {__version__}"


def be_quiet() -> None:
    """Show no progress and no notes, in this process and those that it starts."""
    os.environ[_QUIET] = "1"
    os.environ["TQDM_DISABLE"] = "1"  # tqdm reads it when it is imported


def is_quiet() -> bool:
    """Whether `--quiet` was given."""
    return bool(os.environ.get(_QUIET))


def set_log_level() -> None:
    """Show the package's notes, or with `--quiet` its warnings alone."""
    level = logging.WARNING if is_quiet() else logging.INFO
    logging.getLogger("mtl_jax").setLevel(level)
