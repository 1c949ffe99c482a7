"""All commands as verbs of one script: `mtl-jax train`, `mtl-jax predict` and others.

    mtl-jax VERB [...], or python -m mtl_jax VERB [...]

Each verb is the command of the same folder, which `python -m` starts too. Exit status:
that of the command; 0 help; 2 usage.
"""

import argparse
import importlib
import sys

from mtl_jax.core import command_line, completion, errors
from tfds_builders import flags

# Verb: the module whose `main` is the command, and what it does.
COMMANDS = {
    "train": ("mtl_jax.main", "train one network, and evaluate it"),
    "study": ("mtl_jax.study", "train and compare several networks; tables, a report"),
    "predict": ("mtl_jax.predict", "predict contours and dose of CTs; DICOM, NIfTI"),
    "node": ("mtl_jax.node", "predict CTs that arrive over the network by DICOM"),
    "export": (
        "mtl_jax.portable",
        "write a network as a program for other software: StableHLO, ONNX",
    ),
    "cohort": ("mtl_jax.cohort", "report what a folder of DICOM patients holds"),
    "build openkbp": ("tfds_builders.openkbp", "build a data set of OpenKBP's files"),
    "build dicom": ("tfds_builders.dicom", "build a data set of DICOM patients"),
    "build prostate": ("tfds_builders.prostate", "the same for the site prostate"),
    "build nifti": ("tfds_builders.nifti", "the same of NIfTI files (nnU-Net, MONAI)"),
    "phantoms": (
        "mtl_jax.sources.phantom",
        "write generated patients, to try this",
    ),
    "doctor": ("mtl_jax.doctor", "check this installation, and say what to do"),
}


def show(verbs: dict[str, tuple[str, str]]) -> str:
    """The help: the verbs, one a line."""
    width = max(map(len, verbs))
    lines = [f"  {verb:{width}}  {what}" for verb, (_, what) in verbs.items()]
    return "\n".join(
        (
            f"usage: {command_line.SCRIPT} VERB [...]",
            "",
            "Contours and dose from a CT, with one network. For research only.",
            "",
            *lines,
            "",
            f"{command_line.SCRIPT} VERB --help shows the flags of a verb;",
            "--version shows the package's version.",
        )
    )


def main() -> int:
    """Start the command that the first words name; returns its exit status."""
    typed = completion.words()
    if typed is not None:
        return _complete(typed)
    words = sys.argv[1:]
    if words[:1] == ["--version"]:
        print(command_line.version())
        return 0
    if not words or words[0] in ("-h", "--help", "help"):
        print(show(COMMANDS))
        return 0
    for count in (1, 2):
        verb = " ".join(words[:count])
        if verb in COMMANDS:
            return _start(verb, words[count:])
    members = {v: row for v, row in COMMANDS.items() if v.startswith(f"{words[0]} ")}
    if members:
        asked = words[1:2] in (["-h"], ["--help"])
        print(show(members), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    known = f"{errors.nearest(words[0], COMMANDS)}; known: {', '.join(COMMANDS)}"
    return errors.print_error(f"unknown verb {words[0]!r}{known}", 2)


def _complete(typed: list[str]) -> int:
    """Give the shell what may follow the words `typed`; the process ends in it."""
    for count in (1, 2):
        if " ".join(typed[:count]) in COMMANDS:
            completion.skip(count)
            return _start(" ".join(typed[:count]), [])
    parser = argparse.ArgumentParser(prog=command_line.SCRIPT)
    levels = {"": parser.add_subparsers()}
    for verb, (_, what) in COMMANDS.items():
        first, _, rest = verb.partition(" ")
        if rest and first not in levels:
            levels[first] = levels[""].add_parser(first).add_subparsers()
        levels[first if rest else ""].add_parser(rest or first, help=what)
    completion.answer(parser)
    return 0


def _start(verb: str, arguments: list[str]) -> int:
    """The exit status of the command of `verb`, which finds its name in sys.argv."""
    module = COMMANDS[verb][0]
    sys.argv = [f"{command_line.SCRIPT} {verb}", *arguments]
    if verb.startswith("build "):
        # A builder's own package takes seconds to import: --help ends here, before it.
        flags.PARSERS[verb.removeprefix("build ")](arguments)
    if module != "mtl_jax.main":
        module += ".__main__"
    return importlib.import_module(module).main(arguments)


if __name__ == "__main__":
    sys.exit(main())
