"""Pseudonyms: salted hashes of the names of patient folders, and the key file.

Input: the names of patients' folders, which often are identifiers. Output: an id for
each. The key file holds the salt and maps ids back to folders. It is outside data sets
and working directories, readable by its owner only, and never copied.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mtl_jax.core import errors

# Environment variable with the path of the key file; default: beside the manual_dir.
VARIABLE = "MTL_JAX_KEY_FILE"
MODE = 0o600
_HEX_DIGITS = 12


def key_file(manual_dir: Path) -> Path:
    """The path of the key file: beside the manual_dir, or the value of `VARIABLE`."""
    if path := os.environ.get(VARIABLE):
        return Path(path).expanduser()
    folder = Path(os.path.abspath(manual_dir))  # without `..`
    if not folder.name:
        raise errors.SourceError(
            "the key file cannot be beside the root of the file system: give a folder "
            "in it"
        )
    return folder.with_name(f"{folder.name}.keys.json")


def ids(path: Path, folders: Iterable[str], salt: str | None = None) -> dict[str, str]:
    """The id of each of `folders`, also written to the key file at `path`.

    A new key file gets a random salt, or `salt` (for generated patients, which need no
    protection). Entries of folders that no longer exist stay.

    Raises:
        SourceError: the key file cannot be read or written, or is no key file.
    """
    if not path.exists():
        _create(path, salt or secrets.token_hex(32))
    content = _read(path)
    by_folder = {folder: _id(content["salt"], folder) for folder in folders}
    by_id = {identifier: folder for folder, identifier in by_folder.items()}
    if len(by_id) < len(by_folder):
        raise errors.SourceError("two patients have one id: delete the key file")
    stored = content["patients"]
    if not by_id.items() <= stored.items():
        _replace(path, {"salt": content["salt"], "patients": stored | by_id})
    return by_folder


def _id(salt: str, folder: str) -> str:
    # Names of folders need not be text.
    salted = f"{salt}/{folder}".encode(errors="surrogateescape")
    # The letter keeps spreadsheets from taking it for a number.
    return "p" + hashlib.sha256(salted).hexdigest()[:_HEX_DIGITS]


def _read(path: Path) -> dict[str, Any]:
    try:
        os.chmod(path, MODE)
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content["salt"], str) and isinstance(content["patients"], dict):
            return content
    except OSError as error:
        raise _unusable(error) from None
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise errors.SourceError(
        "the key file is not one of ours, or damaged: restore a copy, or move it "
        "away (patients then get new ids, and data sets have to be built again)"
    )


def _create(path: Path, salt: str) -> None:
    """Write a new key file, unless another process was faster."""
    content = {"salt": salt, "patients": {}}
    with contextlib.suppress(FileExistsError):
        _write(path, content, lambda partial: os.link(partial, path))


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    _write(path, content, lambda partial: os.replace(partial, path))


def _write(
    path: Path, content: Mapping[str, Any], publish: Callable[[Path], None]
) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
        publish(partial)
    except FileExistsError:
        raise
    except OSError as error:
        raise _unusable(error) from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _unusable(error: OSError) -> errors.SourceError:
    return errors.SourceError(
        f"the key file, beside the manual_dir or predict's --out, cannot be used "
        f"({error.strerror}); set {VARIABLE} to another path, outside data sets and "
        "working directories"
    )
