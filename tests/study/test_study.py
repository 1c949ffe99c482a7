"""The study command: its files, its restarts, and the input of each role."""

import dataclasses
import random
import shutil

import numpy as np
import pytest

from mtl_jax.core import config as configs
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring
from mtl_jax.inference import volumes
from mtl_jax.run import input_contours, predictions, wiring, workdir
from mtl_jax.study import comparison, disturbed_contours
from tests import commands

SETTINGS = commands.STUDY
STEPS = SETTINGS["train__steps"]
ROLES = ("contour", "baseline", "seq_human", "seq_auto", "multi")


def call(command, home, **flags):
    """The study in this process: (exit status, stdout, stderr)."""
    settings = {k: v for k, v in SETTINGS.items() if k != "module"}
    return command.call(home, run=comparison.compare, flags=flags, **settings)


def outcome(home):
    """The files that must be equal after any interruption."""
    folder = home / "study" / "test"
    paths = [*(folder / "tables").iterdir(), folder / "rows.csv"]
    return {path.name: path.read_bytes() for path in paths}


def test_a_study_leaves_tables_figures_and_a_report(study):
    home, out = study
    assert {path.name for path in home.iterdir()} == {*ROLES, "study"}
    folder = home / "study" / "test"
    tables = {path.stem for path in (folder / "tables").iterdir()}
    assert {"table3", "table5", "openkbp", "table3-tests-seq_auto"} <= tables
    figures = {"targets", "goals", "gamma", "dose-bands", "dose-distances"}
    assert figures <= tables
    for name in ("figure4-dose", "figure5-contours", "calibration", "training"):
        assert (folder / "figures" / f"{name}.png").stat().st_size > 10_000
    assert len(list((folder / "dvh").iterdir())) == 1
    assert {path.stem for path in (folder / "submissions").iterdir()} == {*ROLES[1:]}
    assert f"report: {folder}/report.html" in out
    assert "1 generated phantoms of the test split" in out
    assert max(map(len, out.splitlines())) < 200  # no table of the study
    report = (folder / "report.html").read_text()
    for words in ("Multi-Automated", "Seq-Human", "no patient is in two splits"):
        assert words in report
    assert "mean dose map" in (folder / "tables/openkbp.md").read_text()


def test_a_role_predicts_what_it_predicts(study):
    for role in ROLES:
        (path,) = (study[0] / role / "predictions" / "test").iterdir()
        prediction = volumes.read(path)
        assert (prediction.dose_gy is None) == (role == "contour")
        assert (prediction.contours is None) == (role not in ("contour", "multi"))


def test_what_is_missing_is_made_again_and_what_is_old_goes(command, study, tmp_path):
    """A role's run too, although the study is killed while it trains that."""
    home = tmp_path / "study"
    shutil.copytree(study[0], home)
    before = outcome(home)
    chance = random.Random()
    role = chance.choice(("contour", "seq_human", "seq_auto"))
    shutil.rmtree(home / role)
    shutil.rmtree(home / "baseline" / "predictions")
    (home / "multi/evaluation/test.csv").unlink()
    (home / "study/test/yardsticks/prior_map.csv").unlink()
    old = home / "study/test/tables/table9.md"
    old.write_text("of a study with other roles")
    process = command.start(home, **SETTINGS)
    log = home / role / "metrics.jsonl"
    assert commands.kill_in_training(process, log, 0, chance.uniform(0, 3))
    status, _, err = command.run(home, **SETTINGS)
    assert status == 0, err
    assert outcome(home) == before
    assert not old.exists()


def test_a_dry_run_says_what_there_is_and_does_nothing(command, study, tmp_path):
    status, out, _ = call(command, tmp_path / "new", dry_run=True)
    assert status == 0
    assert out.count(f"0 of {STEPS} steps trained; not evaluated") == len(ROLES)
    assert not (tmp_path / "new").exists()
    status, out, _ = call(command, study[0], dry_run=True)
    assert status == 0
    assert out.count(f"{STEPS} of {STEPS} steps trained in 0 min") == len(ROLES)
    assert out.count("test evaluated in") == len(ROLES)
    assert f"{len(ROLES)} of {len(ROLES)} runs are finished" in out


def test_runs_of_other_machines_are_gathered(command, study, tmp_path):
    places = {"a": ROLES[:2], "b": ROLES[2:]}
    for place, roles in places.items():
        for role in roles:
            shutil.copytree(study[0] / role, tmp_path / place / role)
    here, folders = tmp_path / "here", [str(tmp_path / place) for place in places]
    status, out, _ = call(command, here, gather=folders, dry_run=True)
    assert status == 0
    assert f"{tmp_path}/b/seq_auto: {STEPS} of {STEPS} steps" in out
    assert f"{len(ROLES)} of {len(ROLES)} runs are finished" in out
    assert not here.exists()
    status, _, err = call(command, here, gather=folders)
    assert status == 0, err
    assert outcome(here) == outcome(study[0])
    stored = workdir.read_json(here / "seq_auto" / "config.json")
    assert stored["data.contours_from"] == str(here / "contour")
    # Nothing of it was trained again.
    for role in ROLES:
        metrics = (study[0] / role / "metrics.jsonl").read_bytes()
        assert (here / role / "metrics.jsonl").read_bytes() == metrics


def test_a_network_to_start_from_is_missed_before_anything_runs(command, tmp_path):
    status, _, err = command.call(
        tmp_path / "new", run=comparison.compare, flags={"dry_run": True},
        model__start_from=tmp_path / "gone",
    )  # fmt: skip
    assert status == 1
    assert "model.start_from: " in err


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("roles", ["multi", "bseline"], "did you mean 'baseline'"),
        ("seeds", "one", "--seeds"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(command, tmp_path, flag, value, message):
    status, _, err = call(command, tmp_path / "new", **{flag: value})
    assert status == 1
    assert message in err
    assert err.count("\n") == 1


def test_the_metrics_file_can_be_printed_and_edited(command, tmp_path):
    status, out, _ = call(command, tmp_path, print_metrics=True)
    assert status == 0
    assert "patient = [" in out and '"dose_error"' in out
    path = tmp_path / "mine.toml"
    path.write_text(out.replace("openkbp:D_mean", "openkbp:D_meen", 1))
    status, _, err = command.call(
        tmp_path / "new", run=comparison.compare, evaluate__metrics=path
    )
    assert status == 1
    assert "mine.toml" in err
    assert "D_meen" in err


class WithoutMasks:
    """Slices of a split whose reference contours are gone."""

    def __init__(self, source):
        self._source = source

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        example = self._source[index]
        return {**example, "masks": np.zeros_like(example["masks"])}


def run_in(home, role, data, drawn=None):
    config = configs.unflatten(workdir.read_json(home / role / "config.json"))
    config.data.contours_from = ""
    return wiring.Run(configs.check(config), data, home / role, drawn or {})


def drawn_and_predicted(finished, data, home):
    """The input contours of seq_auto by split and patient, and its predicted doses."""
    for role in ("contour", "seq_auto"):
        shutil.copytree(finished / role, home / role)
    shutil.rmtree(home / "contour" / "contours")
    config = run_in(home, "seq_auto", data).config
    drawn = input_contours.prepare(config, data, home / "seq_auto")
    run = run_in(home, "seq_auto", data, drawn)
    masks = {
        (split, patient): np.load(path)
        for split, files in drawn.items()
        for patient, path in files.items()
    }
    return masks, [p.dose_gy for _, p in predictions.predict_split(run, "test")]


def test_reference_contours_cannot_reach_seq_auto(command, study, tmp_path):
    """Without reference contours, predicted contours and dose are the same."""
    (path,) = command.data_dir.glob("openkbp/phantom/*")
    data = prepared.open_directory(path)
    splits = {
        name: dataclasses.replace(split, source=WithoutMasks(split.source))
        for name, split in data.splits.items()
    }
    blind = dataclasses.replace(data, splits=splits)
    assert not blind.splits["test"].volume(0).structures["SpinalCord"].any()
    masks, doses = drawn_and_predicted(study[0], data, tmp_path / "seeing")
    others, same = drawn_and_predicted(study[0], blind, tmp_path / "blind")
    assert len(masks) == 4  # two to train on, one to validate, one to test
    assert any(mask.any() for mask in masks.values())
    for key, mask in masks.items():
        np.testing.assert_array_equal(others[key], mask)
    np.testing.assert_array_equal(same, doses)


def test_seq_auto_needs_the_contour_run_that_it_began_with(command, study, tmp_path):
    settings = {k: v for k, v in SETTINGS.items() if k != "module"}
    settings["config"] = "configs/demo.py:seq_auto"
    status, _, err = command.call(tmp_path / "seq_auto", **settings)
    assert status == 1
    assert "train it first (--config=FILE:contour" in err
    assert not (tmp_path / "seq_auto").exists()
    shutil.copytree(study[0] / "seq_auto", tmp_path / "seq_auto")
    shutil.copytree(study[0] / "contour", tmp_path / "contour")
    # The contour run is evaluated otherwise by now: seq_auto keeps to what it had.
    path = tmp_path / "contour" / "config.json"
    other = workdir.read_json(path) | {"evaluate.contour_threshold": 0.25}
    workdir.write_json(other, path)
    status, _, err = command.call(tmp_path / "seq_auto", **settings)
    assert status == 0, err
    assert len(list((tmp_path / "contour/contours").iterdir())) == 1
    shutil.move(tmp_path / f"contour/checkpoints/{STEPS}", tmp_path / "gone")
    shutil.copytree(tmp_path / "gone", tmp_path / f"contour/checkpoints/{STEPS + 1}")
    status, _, err = command.call(tmp_path / "seq_auto", **settings)
    assert status == 1
    assert f"started with contours of checkpoint {STEPS}" in err


def test_the_dose_with_disturbed_contours(command, study, tmp_path):
    home = tmp_path / "seq_human"
    shutil.copytree(study[0] / "seq_human", home)
    settings = {k: v for k, v in SETTINGS.items() if k != "module"}
    status, out, err = command.call(
        home, run=disturbed_contours.run, config="configs/demo.py:seq_human", **settings
    )
    assert status == 0, err
    assert "left and right organs exchanged" in out
    folder = home / "disturbed" / "test"
    drawn = scoring.read_csv(folder / "as-they-are.csv")
    before = scoring.read_csv(home / "evaluation" / "test.csv")
    assert [row.error for row in drawn] == pytest.approx(
        [row.error for row in before], rel=1e-4, abs=1e-4, nan_ok=True
    )
    eroded = scoring.read_csv(folder / "eroded-by-one-voxel.csv")
    assert [row.error for row in drawn] != [row.error for row in eroded]


def test_the_evaluation_names_both_variants(study):
    rows = scoring.read_csv(study[0] / "multi/evaluation/test.csv")
    found = {row.variant for row in rows}
    assert found == {"", scoring.WITHOUT_MASK, scoring.LARGEST}
