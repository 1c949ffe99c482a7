"""A network written as a program gives the same without this package."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

import mtl_jax
from mtl_jax.core import errors
from mtl_jax.portable import __main__ as command
from mtl_jax.portable import formats, written_program
from mtl_jax.portable import program as programs
from mtl_jax.run import saved_networks
from tests.predict import checkpoints


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("saved") / "multi"
    return checkpoints.write(home, "multi", "openkbp", steps=(1,))


@pytest.fixture(scope="module")
def written(home, tmp_path_factory):
    """The folder that the command writes."""
    out = tmp_path_factory.mktemp("exported")
    assert command.main([str(home), f"--out={out}"]) == 0
    return out


ALONE = """
import sys
import jax, numpy as np
program = jax.export.deserialize(bytearray(open("network.stablehlo", "rb").read()))
assert program.platforms == ("cpu", "cuda", "tpu"), program.platforms
example = np.load("example.npz", allow_pickle=False)
outputs = program.call(example["image"])
for task in ("contours", "dose"):
    np.testing.assert_allclose(outputs[task], example[task], atol=1e-5)
assert program.call(example["image"][:1])["dose"].shape[0] == 1
assert "mtl_jax" not in sys.modules and "flax" not in sys.modules
"""


def test_the_program_runs_without_this_package(written):
    environment = {"PATH": "", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        cwd=written,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_is_said_of_the_input_is_enough_to_predict(home, written, rng):
    """An image made by the description's formula alone gives what `predict` gives."""
    about = json.loads((written / written_program.DESCRIPTION).read_text())
    image, ct = about["input"]["image"], about["input"]["ct"]
    height, width = image["shape"][1:3]
    assert image["channels"] == ["CT"]
    # In air a dose is not possible: `predict` leaves none there.
    hu = rng.integers(-100, 1500, (3, height, width)).astype(np.float32)
    hu[:, 0] = hu[:, :, 0] = -1000
    low, high = ct["low_high"]
    normalised = (np.clip(hu + ct["add"], low, high) - ct["mean"]) / ct["std"]
    run = formats.FORMATS["stablehlo"].read(written / "network.stablehlo")
    outputs = run(normalised[..., None].astype(np.float32))
    made = mtl_jax.load_model(home).predict(hu, spacing_mm=(3.0, 14.0, 14.0))
    dose_gy = outputs["dose"][..., 0] * about["output"]["dose"]["prescription_gy"]
    assert made.dose_gy.max() > 1
    inside = made.dose_gy > 0
    np.testing.assert_allclose(dose_gy[inside], made.dose_gy[inside], atol=1e-2)
    assert list(made.masks) == about["output"]["contours"]["structures"]


def test_bfloat16_is_written_too(tmp_path):
    home = checkpoints.write(
        tmp_path / "half", "baseline", "openkbp", changes={"model.dtype": "bfloat16"}
    )
    made = written_program.write(home, tmp_path / "out", "stablehlo", ("cpu",))
    assert made.description["type"] == "bfloat16"
    assert set(made.differences) == {"dose"}


@pytest.mark.parametrize("wrong", [0.1, float("nan")])
def test_a_program_that_differs_is_not_written(home, tmp_path, monkeypatch, wrong):
    right = formats.FORMATS["stablehlo"]

    def read(path):
        run = right.read(path)
        return lambda image: {k: v + wrong for k, v in run(image).items()}

    monkeypatch.setitem(
        formats.FORMATS, "stablehlo", dataclasses.replace(right, read=read)
    )
    with pytest.raises(errors.OutputError, match="differs from the network"):
        written_program.write(home, tmp_path, "stablehlo", ("cpu",))
    assert not list(tmp_path.iterdir())


def test_onnx_gives_the_same(home, tmp_path):
    pytest.importorskip("jax2onnx", reason="jax2onnx is not installed")
    made = written_program.write(home, tmp_path, "onnx", ())
    assert max(made.differences.values()) < 1e-4


def test_without_a_converter_the_message_says_how_to_install_it(
    home, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    assert command.main([str(home), "--format=onnx", f"--out={tmp_path / 'out'}"]) == 1
    error = capsys.readouterr().err
    assert "ONNX needs jax2onnx" in error
    assert "pip install --no-deps jax2onnx" in error


def test_flags(capsys, tmp_path):
    assert set(command.FORMATS) == set(formats.FORMATS)
    with pytest.raises(SystemExit, match="2"):
        command.main(["multi", "--platforms=cpu,rocm"])
    assert "unknown: rocm; known: cpu, cuda, tpu" in capsys.readouterr().err
    assert command.main([str(tmp_path / "none"), f"--out={tmp_path / 'out'}"]) == 1
    assert "holds no checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_operations_are_plain(tmp_path):
    """The forms for CPUs abort compilers for GPUs (openxla/xla issue 47381)."""
    texts = []
    for rewrites in ("auto", "none"):
        home = checkpoints.write(
            tmp_path / rewrites,
            "multi",
            "openkbp",
            changes={"model.rewrites": rewrites},
        )
        program = programs.of(saved_networks.find(home))
        image = np.zeros((1, *program.image_shape), np.float32)
        forms = (program.function, program.here)
        texts.append([str(jax.make_jaxpr(form)(image)) for form in forms])
    (exported, here), (plain, _) = texts
    assert exported == plain
    assert here != plain
