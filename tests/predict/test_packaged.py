"""`python -m mtl_jax.predict` with a network that comes with the package."""

import json
import shutil

import numpy as np
import pytest

from mtl_jax.predict import __main__ as predict
from mtl_jax.zoo import network_folder, packaged
from tests.pack import packable
from tests.predict import openkbp


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A folder with two tiny networks."""
    folder = tmp_path_factory.mktemp("packed")
    for role in ("multi", "informed"):
        packable.pack(folder / role, role).rename(folder / f"zoo-{role}")
    zoo = folder / "zoo"
    zoo.mkdir()
    for role in ("multi", "informed"):
        (folder / f"zoo-{role}").rename(zoo / role)
    return zoo


@pytest.fixture
def call(networks, tmp_path, monkeypatch, capsys):
    """`call(*flags)` in an empty folder: exit status, stdout and stderr."""
    monkeypatch.setattr(packaged, "FOLDER", networks)
    monkeypatch.chdir(tmp_path)
    patient = openkbp.write(tmp_path / "in" / "pt_7")

    def call(*flags):
        try:
            status = predict.main([*flags, "--out=out", str(patient)])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return call


def statistics(folder):
    (path,) = folder.glob("out/*/statistics.json")
    return json.loads(path.read_text())


def test_without_a_checkpoint_the_packaged_multi_predicts(call, networks, tmp_path):
    status, out, err = call()
    assert status == 0, err
    assert out.startswith(
        packaged.introduce(network_folder.describe(networks / "multi"))
    )
    assert "Multi-Automated" in out and "without the image" in out
    found = statistics(tmp_path)
    assert found["checkpoint"] == network_folder.describe(networks / "multi")["digest"]
    assert found["model"] == "multi (openkbp)"
    assert set(found["structures"]) >= {"Brainstem", "SpinalCord"}
    assert found["warnings"] == []
    status, out, _ = call()
    assert status == 0 and "1 of 1 patients were already done" in out


def test_a_name(call, tmp_path):
    status, _, err = call("--checkpoint=informed")
    assert status == 2 and "the role informed needs contours" in err
    status, out, err = call("--checkpoint=informed", "--rtstruct=auto")
    assert status == 0, err
    assert "dose from CT, organs, targets" in out
    # The patient has a SpinalCord and a PTV70; PTV56 is rare.
    (warning,) = (w for w in statistics(tmp_path)["warnings"] if "no contour" in w)
    assert warning.startswith("no contour of Brainstem, which nearly all")
    assert f"{warning}" in err


def test_a_folder_of_that_name_comes_first(call, networks, tmp_path):
    packable.write(tmp_path / "multi")
    status, out, err = call("--checkpoint=multi")
    assert status == 0, err
    digest = network_folder.describe(networks / "multi")["digest"]
    assert statistics(tmp_path)["checkpoint"] != digest
    assert "reached" not in out
    shutil.rmtree(tmp_path / "out")
    call()
    assert statistics(tmp_path)["checkpoint"] == digest


def test_the_path_of_a_packed_network(call, networks, tmp_path):
    moved = shutil.copytree(networks / "multi", tmp_path / "elsewhere")
    status, out, err = call(f"--checkpoint={moved}")
    assert status == 0, err
    assert out.startswith("network multi")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "error: no network called 'multi' comes with this installation"),
        (["--checkpoint=multi"], "error: there is no folder multi; no network called"),
        (["--checkpoint=nowhere/multi"], "error: nowhere/multi holds no checkpoint"),
    ],
)
def test_without_networks_one_line_says_what_to_do(
    call, tmp_path, monkeypatch, flags, message
):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "in")
    status, _, err = call(*flags)
    assert status == 1
    assert err.startswith(message) and err.count("\n") == 1
    assert "working directory" in err
    assert not (tmp_path / "out").exists()


def test_damaged_weights_are_one_line(call, networks, tmp_path, monkeypatch):
    zoo = shutil.copytree(networks, tmp_path / "zoo")
    monkeypatch.setattr(packaged, "FOLDER", zoo)
    path = zoo / "multi" / network_folder.WEIGHTS
    path.write_bytes(path.read_bytes()[:-2])
    status, _, err = call()
    assert status == 1
    assert "weights.safetensors is damaged" in err and "Traceback" not in err


def test_help_names_them(call, networks):
    del networks
    status, out, _ = call("--help")
    assert status == 0
    assert "(here: informed, multi; default: multi)" in " ".join(out.split())
    assert np.all([word in out for word in ("--checkpoint", "DIR|NAME")])
