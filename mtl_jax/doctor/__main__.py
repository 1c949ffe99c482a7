"""Reports what this installation has, and what to do about what it lacks.

    python -m mtl_jax.doctor

Paste its text into a report of a bug. Exit status: 0 the commands can work; 1 they
cannot; 2 usage.
"""

import os
import sys
import textwrap

from mtl_jax.core import command_line

GREEN, YELLOW, RED, PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
WIDTH = 88


def main(arguments: list[str]) -> int:
    """The command; returns the exit status."""
    command_line.parser(
        "doctor",
        "mtl_jax.doctor",
        "Reports versions, devices, memory, data and weights, and what to do about "
        "each. Paste the text into a report of a bug.",
        "",
    ).parse_args(arguments)
    from mtl_jax.doctor import checks  # takes seconds: after the flags

    works = True
    for name, check in checks.CHECKS.items():
        finding = checks.find(check)
        works &= finding.works
        mark, colour = ("look", YELLOW) if finding.advice else ("ok", GREEN)
        if not finding.works:
            mark, colour = "FAIL", RED
        if command_line.is_quiet() and mark == "ok":
            continue
        print(f"{_coloured(f'{mark:5}', colour)}{_wrapped(f'{name}: {finding.text}')}")
        if finding.advice:
            print(f"     {_wrapped(f'-> {finding.advice}')}")
    return 0 if works else 1


def _wrapped(text: str) -> str:
    """`text` in lines, the further ones below the first."""
    lines = textwrap.wrap(text, WIDTH - 5, break_long_words=False)
    return f"\n{' ' * 7}".join(lines)


def _coloured(text: str, colour: str) -> str:
    """`text` in a colour, if a terminal shows it and the user wants colours."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"{colour}{text}{PLAIN}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
