"""The flags of the commands that train, and how the command line becomes their values.

Input: the command line. Output: the values of the flags, or a message and the exit
status. It loads without JAX; `mtl_jax/run/command.py` does what the flags say.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from mtl_jax.core import command_line, completion, errors
from mtl_jax.run import config_files

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "configuration: the NAME of one that comes with the package "
    f"({', '.join(config_files.names())}), or a FILE; required",
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder for results (default: a folder of runs/<config>)"
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "TFDS's data directory (default: $TFDS_DATA_DIR or ~/tensorflow_datasets)",
)
MANUAL_DIR = flags.DEFINE_string(
    "manual_dir",
    None,
    "folder of the raw patients (default: <data_dir>/downloads/manual)",
)
# Needed only if JAX does not find the other processes by itself.
COORDINATOR = flags.DEFINE_string(
    "coordinator_address",
    os.environ.get("JAX_COORDINATOR_ADDRESS") or None,
    "HOST:PORT of the first of several processes (default: $JAX_COORDINATOR_ADDRESS)",
)
PROCESSES = flags.DEFINE_integer(
    "num_processes",
    os.environ.get("JAX_NUM_PROCESSES") or None,
    "number of processes that train together (default: $JAX_NUM_PROCESSES)",
    lower_bound=1,
)
PROCESS = flags.DEFINE_integer(
    "process_id",
    os.environ.get("JAX_PROCESS_ID") or None,
    "number of this process, from 0 (default: $JAX_PROCESS_ID)",
    lower_bound=0,
)
QUIET = flags.DEFINE_bool("quiet", False, command_line.QUIET_HELP)

Flag = flags.FlagHolder[Any]
Groups = Mapping[str, Sequence[Flag]]
GROUPS: Groups = {
    "folders": (WORKDIR, DATA_DIR, MANUAL_DIR),
    "several processes": (COORDINATOR, PROCESSES, PROCESS),
}
_SPELLINGS = {"config": "NAME|FILE[:ROLE]"}


def parse_or_help(
    arguments: list[str],
    verb: str,
    module: str,
    description: str,
    example: str,
    own: Groups | None = None,
) -> None:
    """Read the flags in `arguments`, or show the help and exit.

    Args:
        arguments: of the command line.
        verb: the command's name in the script.
        module: the same for `python -m`.
        description: what the command does.
        example: arguments that a user could give.
        own: flags of this command alone, by their group.
    """
    parser = command_line.parser(verb, module, description, example)
    asked = {"-h", "--help", "--helpshort", "--helpfull", "--version"} & set(arguments)
    if asked or completion.words() is not None:
        _add(parser, {**(own or {}), **GROUPS})
        parser.parse_args(["--version" if "--version" in asked else "--help"])
    sys.argv[1:] = arguments  # where config_flags looks for --config.KEY
    parse(sys.argv)
    if QUIET.value:
        command_line.be_quiet()


def _add(parser: argparse.ArgumentParser, groups: Groups) -> None:
    """Add the flags to a parser that prints them."""
    group = parser.add_argument_group("the run")
    _add_flag(group, CONFIG)
    group.add_argument(
        "--config.KEY",
        metavar="VALUE",
        help="change a value of the configuration, such as --config.train.steps=100; "
        "docs/reference/configuration.md lists the keys",
    )
    for title, members in groups.items():
        group = parser.add_argument_group(title)
        for flag in members:
            _add_flag(group, flag)


def _add_flag(group: Any, holder: Flag) -> None:
    flag = flags.FLAGS[holder.name]
    if flag.boolean:
        group.add_argument(f"--{flag.name}", action="store_true", help=flag.help)
        return
    default = flag.default
    argument = group.add_argument(
        f"--{flag.name}",
        metavar=_SPELLINGS.get(flag.name, flag.name.split("_")[-1].upper()),
        help=flag.help,
        default=",".join(default) if isinstance(default, list) else default,
    )
    if holder is CONFIG:
        argument.completer = completion.names_or_files(config_files.names())


def parse(argv: list[str]) -> list[str]:
    """Parse the flags; a wrong one exits with one line and status 2 or 1."""
    try:
        arguments = flags.FLAGS(_with_path(argv))
        if CONFIG.value is None:
            raise flags.Error(
                "--config=NAME|FILE[:ROLE] is missing, e.g. --config=openkbp"
            )
        if len(arguments) > 1:
            raise flags.Error(f"unexpected arguments: {' '.join(arguments[1:])}")
    except flags.Error as error:
        sys.exit(errors.print_error(f"{error}; see --help", 2))
    except errors.ConfigError as error:  # a configuration that is not there, or broken
        sys.exit(errors.print_error(error, 1))
    except (AttributeError, KeyError, TypeError) as error:  # unknown --config.KEY
        sys.exit(errors.print_error(_unknown_keys(argv, error), 1))
    return arguments


def _with_path(argv: list[str]) -> list[str]:
    """The command line with the path of the configuration in place of its name."""
    found = list(argv)
    for place, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if word == "--":
            break
        if flag not in ("--config", "-config"):
            continue
        if equals:
            found[place] = f"{flag}={config_files.find(value)}"
        elif place + 1 < len(argv):
            found[place + 1] = config_files.find(argv[place + 1])
    return found


def _unknown_keys(argv: list[str], error: Exception) -> str:
    """Which keys of the command line no configuration has."""
    from mtl_jax.core import config as configs

    names = [word.split("=")[0] for word in argv if word.startswith("--config.")]
    unknown = [key for key in (k[9:] for k in names) if key not in configs.KEYS]
    hints = [f"{key}{errors.nearest(key, configs.KEYS)}" for key in unknown]
    return f"unknown configuration key {', '.join(hints) or error}"
