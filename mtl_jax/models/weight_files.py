"""Read files of named tensors without executing anything that they contain.

Input: the path of a `.pth` or `.safetensors` file. Output: NumPy arrays by name. They
can be written as `.safetensors`, too.
torch's `.pth` is a zip archive: a pickle that describes the tensors, and their bytes.
The unpickler here accepts a few harmless names and refuses all others; it returns
descriptions, from which the arrays are then read.
"""

import collections
import json
import math
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mtl_jax.core import errors

# Storage classes of torch, and the types of safetensors, as NumPy calls them.
TORCH_TYPES = {
    "HalfStorage": "f2",
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "IntStorage": "i4",
    "LongStorage": "i8",
}
SAFETENSORS_TYPES = {"F16": "f2", "F32": "f4", "F64": "f8", "I32": "i4", "I64": "i8"}

RESAVE = "save the state dict alone: torch.save(model.state_dict(), path)"


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a torch zip archive or of a `.safetensors` file, by name.

    Raises:
        WeightsError: the file is missing, damaged, of another kind, or holds anything
            but tensors.
    """
    if not path.is_file():
        raise errors.WeightsError(
            f"{path}: no such file; give a .pth or .safetensors file, or set "
            "model.pretrained to 'auto' or 'none'"
        )
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if zipfile.is_zipfile(path):
            return _read_torch(path)
    except errors.WeightsError as error:
        raise errors.WeightsError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file can break a parser in any way
        raise errors.WeightsError(
            f"{path}: damaged ({type(error).__name__}: {error}); get it again"
        ) from error
    with path.open("rb") as file:
        start = file.read(2)
    if start[:1] == b"\x80" or tarfile.is_tarfile(path):  # a bare pickle, or a tar
        raise errors.WeightsError(
            f"{path}: the format of torch before version 1.6, which is not read here; "
            "save it again with a newer torch: torch.save(torch.load(path), path)"
        )
    raise errors.WeightsError(
        f"{path}: {'cut off' if start == b'PK' else 'no torch or safetensors file'}; "
        "expected a whole .pth file as torch.save writes it, or .safetensors"
    )


class _Storage(NamedTuple):
    type: str
    key: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]  # in values, not bytes


class _Unpickler(pickle.Unpickler):
    """Accepts ordered dicts and descriptions of tensors; refuses any other name."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        name = f"{module_name}.{global_name}"
        if name == "collections.OrderedDict":
            return collections.OrderedDict
        if name == "torch._utils._rebuild_tensor_v2":
            return _describe_tensor
        if name == "torch._utils._rebuild_parameter":
            return _tensor_of_parameter
        if module_name == "torch" and global_name in TORCH_TYPES:
            return TORCH_TYPES[global_name]
        raise errors.WeightsError(
            f"refused: it asks for {name}, which is not a tensor of a known type; "
            f"{RESAVE}"
        )

    def persistent_load(self, pid: Any, /) -> _Storage:
        _, type_name, key, _, size = pid
        return _Storage(type_name, key, size)


def _describe_tensor(
    storage: _Storage,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    *_: object,
) -> _Tensor:
    return _Tensor(storage, offset, shape, stride)


def _tensor_of_parameter(tensor: _Tensor, *_: object) -> _Tensor:
    return tensor


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        descriptions = [name for name in names if name.endswith("/data.pkl")]
        if len(descriptions) != 1:
            raise errors.WeightsError("a zip archive that torch did not write")
        root = descriptions[0].removesuffix("data.pkl")
        with archive.open(descriptions[0]) as file:
            state = _Unpickler(file).load()
        _check_tensors_only(state)
        order = root + "byteorder"
        big = order in names and archive.read(order) == b"big"
        return {
            name: _tensor(
                tensor,
                archive.read(f"{root}data/{tensor.storage.key}"),
                ">" if big else "<",
            )
            for name, tensor in state.items()
        }


def _check_tensors_only(state: Any) -> None:
    if not isinstance(state, dict):
        raise errors.WeightsError(f"holds no tensors by name; {RESAVE}")
    others = [str(name) for name, v in state.items() if not isinstance(v, _Tensor)]
    if others:
        raise errors.WeightsError(
            f"holds more than tensors by name ({', '.join(others[:4])}); {RESAVE}"
        )


def _tensor(tensor: _Tensor, data: bytes, byteorder: str) -> np.ndarray:
    """The array that `tensor` describes in its storage's bytes, as a copy."""
    storage = np.frombuffer(data, byteorder + tensor.storage.type)
    _, offset, shape, stride = tensor
    steps = zip(shape, stride, strict=True)
    last = offset + sum((size - 1) * step for size, step in steps)
    negative = min(offset, *shape, *stride, 0) < 0
    if negative or max(last, math.prod(shape) - 1) >= storage.size:
        raise ValueError(f"a tensor of shape {shape} does not fit its storage")
    strides = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides).copy()


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """A length, a JSON header (name: type, shape, first and last byte), the bytes."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    unknown = {entry["dtype"] for entry in header.values()} - set(SAFETENSORS_TYPES)
    if unknown:
        raise errors.WeightsError(
            f"has tensors of type {', '.join(sorted(unknown))}; "
            f"known: {', '.join(SAFETENSORS_TYPES)}"
        )
    tensors = {}
    for name, entry in header.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        values = np.frombuffer(
            data[first:last], "<" + SAFETENSORS_TYPES[entry["dtype"]]
        )
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def write_safetensors(tensors: Mapping[str, np.ndarray], path: Path) -> None:
    """Write `tensors`, of the types in SAFETENSORS_TYPES, as a `.safetensors` file."""
    types = {code: name for name, code in SAFETENSORS_TYPES.items()}
    header, parts, end = {}, [], 0
    for name, tensor in sorted(tensors.items()):
        data = np.asarray(tensor, tensor.dtype.newbyteorder("<")).tobytes()
        header[name] = {
            "dtype": types[tensor.dtype.str[1:]],
            "shape": list(tensor.shape),
            "data_offsets": [end, end := end + len(data)],
        }
        parts.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors begin at a multiple of 8
    path.write_bytes(b"".join([len(text).to_bytes(8, "little"), text, *parts]))
