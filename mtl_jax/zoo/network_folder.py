"""The folder of a network that is passed on: weights in half precision, and what it is.

Input: variables, and a description in plain values. Output: a folder with
`weights.safetensors`, `network.json` and `model_card.md`; and both read back. Tensors
are named by their path, such as `params/encoder/conv1/kernel`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import errors, files
from mtl_jax.models import parameters, weight_files
from mtl_jax.zoo import packaged

WEIGHTS, CARD = "weights.safetensors", "model_card.md"
DESCRIPTION = packaged.DESCRIPTION
# A network is part of the package, and of each clone of its repository.
MOST_BYTES = 35_000_000


def is_one(folder: Path) -> bool:
    """Whether `folder` holds a network in this form."""
    return (folder / DESCRIPTION).is_file()


def describe(folder: Path) -> dict[str, Any]:
    """The description in `folder`; its `digest` is the SHA-256 of the weights' file.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if description.pop("description_digest") != files.json_digest(description):
            raise ValueError("it differs from its digest")
    except (
        *(OSError, ValueError, KeyError, AttributeError, TypeError),
        RecursionError,  # brackets in brackets
    ) as error:
        raise errors.CheckpointError(
            f"network {folder.name}: {DESCRIPTION} is damaged ({error}); get it again"
        ) from error
    return description


def weights(folder: Path) -> parameters.Variables:
    """The network's variables in float32.

    Raises:
        CheckpointError: the file is missing, or differs from its digest.
    """
    path = folder / WEIGHTS
    try:
        found = _sha256(path)
    except OSError as error:
        found = f"nothing ({error.strerror})"
    if found != (expected := describe(folder)["digest"]):
        raise errors.CheckpointError(
            f"network {folder.name}: {WEIGHTS} is damaged: its SHA-256 is {found}, "
            f"expected {expected}; get it again"
        )
    tensors = weight_files.read(path)
    return parameters.unflatten(
        {
            tuple(name.split("/")): np.asarray(tensor, np.float32)
            for name, tensor in tensors.items()
        }
    )


def write(
    folder: Path,
    variables: parameters.Variables,
    description: Mapping[str, Any],
    card: Callable[[str], str],
) -> dict[str, Any]:
    """Write `folder`, whole or not at all; its description, with digest and size.

    `card` makes the model card, from the digest of the weights' file.

    Raises:
        WeightsError: a value does not fit half precision, or the file is too large.
    """
    tensors = {
        "/".join(path): _half(path, array)
        for path, array in parameters.flatten(variables).items()
    }
    count = sum(a.size for path, a in tensors.items() if path.startswith("params/"))
    with files.whole_folder(folder) as partial:
        weight_files.write_safetensors(tensors, partial / WEIGHTS)
        size = (partial / WEIGHTS).stat().st_size
        if size > MOST_BYTES:
            raise errors.WeightsError(
                f"the weights take {size / 1e6:.1f} MB, at most "
                f"{MOST_BYTES / 1e6:.0f} MB may be passed on: train a narrower "
                "network (model.width, model.decoder_widths)"
            )
        digest = _sha256(partial / WEIGHTS)
        whole = {**description, "parameters": count, "bytes": size, "digest": digest}
        signed = whole | {"description_digest": files.json_digest(whole)}
        text = json.dumps(signed, indent=2) + "\n"
        (partial / DESCRIPTION).write_text(text, encoding="utf-8")
        (partial / CARD).write_text(card(digest), encoding="utf-8")
    return whole


def _half(path: parameters.Path, array: np.ndarray) -> np.ndarray:
    """`array` in half precision; a WeightsError if a value is too large for it."""
    with np.errstate(over="ignore"):  # reported below
        half = np.asarray(array, np.float16)
    if not np.all(np.isfinite(half)):
        largest = np.abs(array).max()
        raise errors.WeightsError(
            f"{'/'.join(path)} has the value {largest:g}: half precision ends at "
            f"{np.finfo(np.float16).max:g}; these weights cannot be passed on"
        )
    return half


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
