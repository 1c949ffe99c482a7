"""Completion of the command line by the shell (the TAB key), by argcomplete.

Input: the line so far, in the environment of a start that the shell made only to ask.
Output: the words that may follow. `eval "$(register-python-argcomplete mtl-jax)"` turns
it on in bash and zsh.
"""

import argparse
import os
from collections.abc import Callable, Iterable


def words() -> list[str] | None:
    """The finished words after the script's name; None if the shell does not ask."""
    if "_ARGCOMPLETE" not in os.environ:
        return None
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    return f"{line}|".split()[1:-1]


def skip(count: int) -> None:
    """Leave `count` more words to the caller: they name a verb."""
    os.environ["_ARGCOMPLETE"] = str(int(os.environ["_ARGCOMPLETE"]) + count)


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what `parser` expects next, and exit; go on if it did not ask."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def names_or_files(names: Iterable[str]) -> Callable[..., list[str]]:
    """A completer of argcomplete for one of `names`, or a file."""

    def complete(prefix: str, **_: object) -> list[str]:
        from argcomplete import completers

        known = [name for name in names if name.startswith(prefix)]
        return known + completers.FilesCompleter()(prefix)

    return complete
