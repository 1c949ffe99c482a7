"""Pretrained weights of the encoder: find or download the file, and load it.

Input: variables of a network, and the configuration's `model.pretrained`. Output: the
variables with the encoder's weights, and a note of where they come from.
"""

import dataclasses
import hashlib
import http.client
import logging
import os
import secrets
import urllib.request
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import tqdm

from mtl_jax.core import errors
from mtl_jax.models import parameters, torch_names, weight_files

logger = logging.getLogger(__name__)

# A mirror's address of the file, instead of torch's server.
URL_VARIABLE = "MTL_JAX_WEIGHTS_URL"
TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A published file of torch's hub; its name ends with the start of its SHA-256."""

    name: str
    url: str
    sha256_start: str
    stage_sizes: tuple[int, ...]
    width: int


RESNET50_IMAGENET_V1 = WeightsFile(
    name="resnet50-0676ba61.pth",
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    sha256_start="0676ba61",
    stage_sizes=(3, 4, 6, 3),
    width=64,
)


def load(
    variables: parameters.Variables,
    spec: str,
    *,
    published: WeightsFile = RESNET50_IMAGENET_V1,
) -> tuple[parameters.Variables, str]:
    """Variables with a pretrained encoder, and a note of where its weights come from.

    `spec` is "none", the path of a file, or "auto": the `published` file from torch's
    cache or from the internet, else random weights and a warning.

    Raises:
        WeightsError: the file at a path cannot be read, or does not fit the encoder.
    """
    if spec == "none":
        return variables, "random weights: model.pretrained is 'none'"
    if spec != "auto":
        return _with_file(variables, Path(spec).expanduser())
    try:
        _check_size(variables, published)
        return _with_file(variables, find(published) or download(published))
    except (errors.WeightsError, OSError) as error:
        note = f"random weights: {error}"
        logger.warning("ENCODER STARTS FROM RANDOM WEIGHTS: %s", error)
        return variables, note


def find(published: WeightsFile) -> Path | None:
    """The file in one of `folders` with the right digest; warns of one with another."""
    for folder in folders():
        path = folder / published.name
        if not path.is_file():
            continue
        digest = _sha256(path)
        if digest.startswith(published.sha256_start):
            return path
        logger.warning(
            "%s is not used: its SHA-256 starts with %s, not %s (cut off or changed)",
            path,
            digest[: len(published.sha256_start)],
            published.sha256_start,
        )
    return None


def folders() -> list[Path]:
    """Folders of torch's downloaded files; new files go to the first."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "torch"
    homes = [cache]
    if os.environ.get("TORCH_HOME"):
        homes.insert(0, Path(os.environ["TORCH_HOME"]))
    return [folder for home in homes for folder in (home / "hub" / "checkpoints", home)]


def download(published: WeightsFile) -> Path:
    """Download the file into torch's cache; its digest is checked before it is named.

    Raises:
        WeightsError: the server cannot be reached, or sent another file.
        OSError: the folder cannot be written.
    """
    url = os.environ.get(URL_VARIABLE) or published.url
    folder = folders()[0]
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{published.name}.{secrets.token_hex(4)}.part"
    try:
        with part.open("xb") as file:
            digest = _fetch(url, file, published.name)
        if not digest.startswith(published.sha256_start):
            raise errors.WeightsError(
                f"{url} sent a file whose SHA-256 starts with "
                f"{digest[: len(published.sha256_start)]}, expected "
                f"{published.sha256_start}; {_advice(published)}"
            )
        return part.replace(folder / published.name)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, errors.WeightsError):
            raise
        raise errors.WeightsError(
            f"{url} cannot be downloaded ({error}); {_advice(published)}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _fetch(url: str, file: Any, description: str) -> str:
    """Download `url` into `file`, with a progress bar; return its SHA-256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        expected = int(answer.headers.get("Content-Length") or 0)
        bar = tqdm.tqdm(
            total=expected or None, unit="B", unit_scale=True, desc=description
        )
        with bar:
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
        if expected and file.tell() != expected:
            raise OSError(f"cut off after {file.tell()} of {expected} bytes")
    return digest.hexdigest()


def _with_file(
    variables: parameters.Variables, path: Path
) -> tuple[parameters.Variables, str]:
    state = weight_files.read(path)
    like = _encoder(variables)
    sizes, width = torch_names.size(like)
    try:
        encoder = torch_names.to_flax(state, like)
    except errors.WeightsError as error:
        raise errors.WeightsError(
            f"{path}: {error}; give a ResNet with stages {sizes} and width {width}, "
            "or set model.pretrained to 'auto' or 'none'"
        ) from error
    loaded = {
        collection: {**tree, "encoder": _as_jax(encoder[collection])}
        for collection, tree in variables.items()
    }
    return loaded, f"encoder from {path}, SHA-256 {_sha256(path)}"


def _encoder(variables: parameters.Variables) -> dict[str, Any]:
    """The variables of the network's ResNet.

    Raises:
        WeightsError: the network has none.
    """
    if "conv1" not in variables["params"].get("encoder", {}):
        raise errors.WeightsError(
            "this network has no ResNet called 'encoder'; set model.pretrained to "
            "'none'"
        )
    return {collection: tree["encoder"] for collection, tree in variables.items()}


def _as_jax(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _as_jax(value) if isinstance(value, dict) else jnp.asarray(value)
        for name, value in tree.items()
    }


def _check_size(variables: parameters.Variables, published: WeightsFile) -> None:
    sizes, width = torch_names.size(_encoder(variables))
    if (sizes, width) != (published.stage_sizes, published.width):
        raise errors.WeightsError(
            f"{published.name} is for a ResNet with stages {published.stage_sizes} and "
            f"width {published.width}, this encoder has {sizes} and {width}"
        )


def _advice(published: WeightsFile) -> str:
    return (
        f"put {published.name} into {folders()[0]}, or set {URL_VARIABLE} to a mirror, "
        "or model.pretrained to a file"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
