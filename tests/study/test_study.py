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
from tests import commands

SETTINGS = commands.STUDY
STEPS = SETTINGS["train__steps"]
ROLES = ("contour", "baseline", "seq_human", "seq_auto", "multi")


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


def test_a_study_killed_twice_ends_with_the_same_tables(command, study, tmp_path):
    chance, kills = random.Random(), 0
    for role in chance.sample(ROLES, 2):
        process = command.start(tmp_path, **SETTINGS)
        log = tmp_path / role / "metrics.jsonl"
        kills += commands.kill_in_training(process, log, 0, chance.uniform(0, 3))
    assert kills
    status, _, err = command.run(tmp_path, **SETTINGS)
    assert status == 0, err
    assert outcome(tmp_path) == outcome(study[0])


def test_a_dry_run_says_what_there_is_and_does_nothing(command, study, tmp_path):
    status, out, _ = command.run(tmp_path / "new", "--dry_run", **SETTINGS)
    assert status == 0
    assert out.count(f"0 of {STEPS} steps trained; not evaluated") == len(ROLES)
    assert not (tmp_path / "new").exists()
    status, out, _ = command.run(study[0], "--dry_run", **SETTINGS)
    assert status == 0
    assert out.count(f"{STEPS} of {STEPS} steps trained in 0 min") == len(ROLES)
    assert out.count("test evaluated in") == len(ROLES)


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--roles=multi,bseline", "did you mean 'baseline'"), ("--seeds=one", "--seeds")],
)
def test_a_wrong_flag_is_one_clear_line(command, tmp_path, flag, message):
    status, _, err = command.run(tmp_path / "new", flag, **SETTINGS)
    assert status == 1
    assert message in err
    assert "Traceback" not in err


def test_the_metrics_file_can_be_printed_and_edited(command, tmp_path):
    status, out, _ = command.run(tmp_path, "--print_metrics", **SETTINGS)
    assert status == 0
    assert 'patient = ["dose_error"' in out
    path = tmp_path / "mine.toml"
    path.write_text(out.replace("openkbp:D_mean", "openkbp:D_meen", 1))
    status, _, err = command.run(
        tmp_path / "new", **(SETTINGS | {"evaluate__metrics": path})
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
    status, _, err = command.run(tmp_path / "seq_auto", **settings)
    assert status == 1
    assert "train it first (--config=FILE:contour" in err
    assert not (tmp_path / "seq_auto").exists()
    shutil.copytree(study[0] / "seq_auto", tmp_path / "seq_auto")
    shutil.copytree(study[0] / "contour", tmp_path / "contour")
    # The contour run is evaluated otherwise by now: seq_auto keeps to what it had.
    path = tmp_path / "contour" / "config.json"
    other = workdir.read_json(path) | {"evaluate.contour_threshold": 0.25}
    workdir.write_json(other, path)
    status, _, err = command.run(tmp_path / "seq_auto", **settings)
    assert status == 0, err
    assert len(list((tmp_path / "contour/contours").iterdir())) == 1
    shutil.move(tmp_path / f"contour/checkpoints/{STEPS}", tmp_path / "gone")
    shutil.copytree(tmp_path / "gone", tmp_path / f"contour/checkpoints/{STEPS + 1}")
    status, _, err = command.run(tmp_path / "seq_auto", **settings)
    assert status == 1
    assert f"started with contours of checkpoint {STEPS}" in err
    assert "Traceback" not in err


def test_what_was_deleted_is_made_again_and_what_is_old_goes(command, study, tmp_path):
    home = tmp_path / "study"
    shutil.copytree(study[0], home)
    before = outcome(home)
    shutil.rmtree(home / "baseline" / "predictions")
    (home / "multi/evaluation/test.csv").unlink()
    (home / "study/test/yardsticks/prior_map.csv").unlink()
    old = home / "study/test/tables/table9.md"
    old.write_text("of a study with other roles")
    status, _, err = command.run(home, **SETTINGS)
    assert status == 0, err
    assert outcome(home) == before
    assert not old.exists()


def test_the_evaluation_names_both_variants(study):
    rows = scoring.read_csv(study[0] / "multi/evaluation/test.csv")
    found = {row.variant for row in rows}
    assert found == {"", scoring.WITHOUT_MASK, scoring.LARGEST}
