"""The file that `--config` names: a user's own, or one that comes with the package.

Input: FILE[:ROLE] or NAME[:ROLE]. Output: the file's path with the role, checked to
hold a configuration. The package's files are the folder `configs` of a checkout, and
the package `mtl_jax.configs` everywhere.
"""

import importlib
import importlib.util
import traceback
from pathlib import Path

import ml_collections

from mtl_jax.core import errors

FOLDER = Path(importlib.import_module("mtl_jax.configs").__path__[0])


def names() -> tuple[str, ...]:
    """Names of the configurations that come with the package."""
    files = (path.stem for path in FOLDER.glob("*.py"))
    return tuple(sorted(set(files) - {"__init__", "common"}))


def find(text: str) -> str:
    """The path and role, as `PATH[:ROLE]`, of `FILE[:ROLE]` or `NAME[:ROLE]`.

    Raises:
        ConfigError: there is no such file or name, or no configuration in it.
    """
    return _found(text)[0]


def load(text: str) -> ml_collections.ConfigDict:
    """The configuration in `FILE[:ROLE]` or `NAME[:ROLE]`; errors as of `find`."""
    return _found(text)[1]


def _found(text: str) -> tuple[str, ml_collections.ConfigDict]:
    """The path and role, and the configuration."""
    file, colon, role = text.partition(":")
    path = _own_file(file) if file.endswith(".py") or "/" in file else _shipped(file)
    return f"{path}{colon}{role}", _read(path, [role] if colon else [])


def _own_file(file: str) -> Path:
    path = Path(file).expanduser()
    if path.is_file():
        return path
    stem = path.stem
    hint = f"; the package has it as --config={stem}" if stem in names() else _known()
    raise errors.ConfigError(f"--config: there is no file {file}{hint}")


def _shipped(name: str) -> Path:
    if name in names():
        return FOLDER / f"{name}.py"
    there = f"{name}.py"
    if Path(there).is_file():
        raise errors.ConfigError(
            f"--config: no configuration called {name!r} comes with the package; for "
            f"the file, write --config={there}"
        )
    raise errors.ConfigError(
        f"--config: no configuration called {name!r}{errors.nearest(name, names())}"
        f"{_known()}"
    )


def _known() -> str:
    return (
        f"; known: {', '.join(names())}, each with :ROLE, or the path of a file that "
        "ends in .py"
    )


def _read(path: Path, role: list[str]) -> ml_collections.ConfigDict:
    """What the file holds; a ConfigError with one line if that is no configuration."""
    spec = importlib.util.spec_from_file_location("config_file", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        made = module.get_config(*role) if hasattr(module, "get_config") else None
    except Exception as error:  # whatever a user's file does
        raise errors.ConfigError(_why(path, error)) from error
    if not isinstance(made, ml_collections.ConfigDict):
        raise errors.ConfigError(
            f"--config: {path} needs a get_config() that returns a ConfigDict; "
            "start from one of the package: from mtl_jax.configs import openkbp"
        )
    return made


def _why(path: Path, error: Exception) -> str:
    """Why the file does not load, and in which line of it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename) == path.absolute()]
    if isinstance(error, SyntaxError):
        lines, error = [error.lineno], SyntaxError(error.msg)
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError) and error.name == "configs":
        reason += "; write `from mtl_jax.configs import ...`"
    return f"--config: {place}: {reason}"
