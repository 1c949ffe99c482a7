"""Tensors come back as they were written; nothing in a file runs; damage is said."""

import collections
import json
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.models import weight_files

torch = pytest.importorskip("torch")


@pytest.fixture
def state():
    """A state dict with what torch puts into one: views, shared storage, metadata."""
    torch.manual_seed(0)
    whole = torch.randn(4, 3, 2, 2)
    state = torch.nn.BatchNorm2d(3).state_dict()  # has _metadata and a counter
    state["kernel"] = whole
    state["channels_last"] = torch.randn(2, 3, 4, 5).to(
        memory_format=torch.channels_last
    )
    state["part"] = whole[1:3, :, 1]
    state["parameter"] = torch.nn.Parameter(torch.randn(3))  # as old files have it
    state["half"] = torch.randn(5).half()
    state["double"] = torch.randn(5).double()
    state["empty"] = torch.zeros(0, 3)
    return state


def test_reads_what_torch_saves(state, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    arrays = weight_files.read(path)
    assert set(arrays) == set(state)
    for name, value in state.items():
        expected = value.detach().numpy()
        np.testing.assert_array_equal(arrays[name], expected, err_msg=name)
        assert arrays[name].dtype == expected.dtype


class Intruder:
    def __reduce__(self):
        return os.mkdir, ("was-executed",)


def test_refuses_to_execute(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pth"
    torch.save({"conv1.weight": Intruder()}, path)
    with pytest.raises(errors.WeightsError, match=r"refused: it asks for \w+\.mkdir"):
        weight_files.read(path)
    assert not (tmp_path / "was-executed").exists()


def test_refuses_a_whole_module(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(errors.WeightsError, match=r"Linear.*save the state dict alone"):
        weight_files.read(path)


def test_names_what_is_no_tensor(state, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": state, "epoch": 3}, path)
    with pytest.raises(
        errors.WeightsError, match=r"\(state_dict, epoch\); save the st"
    ):
        weight_files.read(path)


def test_refuses_the_old_format(state, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    with pytest.raises(errors.WeightsError, match=r"before version 1\.6"):
        weight_files.read(path)
    with tarfile.open(path, "w") as archive:  # older still
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(errors.WeightsError, match=r"before version 1\.6"):
        weight_files.read(path)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_says_that_a_file_is_cut_off(state, tmp_path, kept) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    expected = r"weights.pth: (cut off|no torch or safetensors file); expected a whole"
    with pytest.raises(errors.WeightsError, match=expected):
        weight_files.read(path)


def test_notices_a_flipped_bit(state, tmp_path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[content.index(state["kernel"].numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        errors.WeightsError, match=r"damaged \(BadZipFile.*get it again"
    ):
        weight_files.read(path)


@pytest.mark.parametrize(
    "offset, shape, stride", [(0, (5,), (1,)), (2, (2, 2), (2, 1)), (-1, (2,), (1,))]
)
def test_refuses_a_tensor_outside_its_storage(tmp_path, offset, shape, stride) -> None:
    # A pickle as torch writes it, of a tensor that reaches beyond its four values.
    Storage = collections.namedtuple("Storage", "type key location size")
    storage = Storage(torch.FloatStorage, "0", "cpu", 4)

    class Tensor:
        def __reduce__(self):
            arguments = (storage, offset, shape, stride, False, {})
            return torch._utils._rebuild_tensor_v2, arguments

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", *value) if value is storage else None

    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as file:
            Pickler(file, protocol=2).dump({"kernel": Tensor()})
        archive.writestr("archive/data/0", np.zeros(4, np.float32).tobytes())
    with pytest.raises(errors.WeightsError, match="does not fit its storage"):
        weight_files.read(path)


def write_safetensors(path, header: dict, content: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)


def test_reads_safetensors(tmp_path) -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    counter = np.array(7, np.int64)
    path = tmp_path / "weights.safetensors"
    header = {
        "__metadata__": {"format": "pt"},
        "kernel": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "counter": {"dtype": "I64", "shape": [], "data_offsets": [24, 32]},
    }
    write_safetensors(path, header, kernel.tobytes() + counter.tobytes())
    arrays = weight_files.read(path)
    np.testing.assert_array_equal(arrays["kernel"], kernel)
    np.testing.assert_array_equal(arrays["counter"], counter)

    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(errors.WeightsError, match=r"damaged \(ValueError"):
        weight_files.read(path)
    header["kernel"]["dtype"] = "F8_E4M3"
    write_safetensors(path, header, b"")
    with pytest.raises(errors.WeightsError, match=r"type F8_E4M3; known: F16, F32"):
        weight_files.read(path)


def test_writes_safetensors_as_the_format_says(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    half = np.array([[1.0, -2.0]], np.float16)
    tensors = {"b": half, "a": np.float32(0.5).reshape(())}
    weight_files.write_safetensors(tensors, path)
    # 0.5 is 0x3f000000, 1 is 0x3c00 and -2 is 0xc000, all little-endian.
    header = (
        b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},'
        b'"b":{"dtype":"F16","shape":[1,2],"data_offsets":[4,8]}}'
    )
    header += b" " * (-len(header) % 8)
    expected = len(header).to_bytes(8, "little") + header
    expected += b"\x00\x00\x00\x3f" + b"\x00\x3c\x00\xc0"
    assert path.read_bytes() == expected
    found = weight_files.read(path)
    assert found["b"].dtype == np.float16
    np.testing.assert_equal(found, tensors)


def test_says_what_is_no_weights_file(tmp_path) -> None:
    with pytest.raises(errors.WeightsError, match=r"no such file; give a \.pth"):
        weight_files.read(tmp_path / "absent.pth")
    path = tmp_path / "notes.pth"
    path.write_text("not weights")
    with pytest.raises(errors.WeightsError, match="no torch or safetensors file"):
        weight_files.read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "nothing here")
    with pytest.raises(
        errors.WeightsError, match="a zip archive that torch did not write"
    ):
        weight_files.read(path)
