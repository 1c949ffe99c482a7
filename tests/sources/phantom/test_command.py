"""`python -m mtl_jax.sources.phantom`: patients that `predict` finds."""

import pytest

from mtl_jax.predict import cases
from mtl_jax.sources.phantom import __main__ as command
from mtl_jax.sources.phantom import dicom_cohort


def test_heads_as_the_challenge_s_files(tmp_path, capsys):
    folder = tmp_path / "new"
    assert command.main([str(folder), "--patients=2"]) == 0
    assert f"2 generated patients in {folder}" in capsys.readouterr().out
    found = cases.find([folder], tmp_path / "out")
    assert [case.kind for case in found] == ["openkbp", "openkbp"]
    names = {path.name for path in found[0].path.iterdir()}
    assert {"ct.csv", "dose.csv", "voxel_dimensions.csv", "Brainstem.csv"} <= names
    # The same again is nothing to do; others do not replace them.
    assert command.main([str(folder), "--patients=2"]) == 0
    assert command.main([str(folder), "--patients=3"]) == 1
    assert "error: " in capsys.readouterr().err


def test_pelves_as_dicom(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        dicom_cohort, "write_cohort", lambda *a, **options: asked.append((*a, options))
    )
    folder = tmp_path / "new"
    assert command.main([str(folder), "--site=prostate", "--seed=7"]) == 0
    assert asked == [(folder, {"seed": 7, "patients": 1})]


@pytest.mark.parametrize("flag", ["--patients=0", "--seed=-1", "--site=lung"])
def test_usage(tmp_path, flag):
    with pytest.raises(SystemExit, match="2"):
        command.main([str(tmp_path / "new"), flag])
    assert not (tmp_path / "new").exists()
