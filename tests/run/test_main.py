"""The command as a user types it: its files, its restarts, its errors."""

import json
import math
import random
import shutil
import signal
import time

import numpy as np
import pytest

from mtl_jax.core import config as configs
from mtl_jax.evaluation import scoring
from mtl_jax.inference import volumes
from mtl_jax.train import checkpoint, writers
from tests import commands

STEPS = 12
SCHEDULE = {
    "train__steps": STEPS,
    "train__checkpoint_every": 3,
    "train__validate_every": 6,
    "train__images_every": 6,
    "dwa__interval_steps": 4,
    # The validation split too, as its score in training: without mirror images.
    "evaluate__splits": "('test','validation')",
    "evaluate__mirror": False,
}


@pytest.fixture(scope="session")
def finished(command, tmp_path_factory):
    def make(folder):
        status, out, err = command.run(folder, **SCHEDULE)
        assert status == 0, err
        return out

    return commands.once(tmp_path_factory, "finished", make)


def test_a_run_leaves_every_file_of_the_contract(finished):
    workdir, out = finished
    names = {path.name for path in workdir.iterdir()}
    assert names == {
        *("config.json", "provenance.json", "statistics.json", "metrics.jsonl"),
        *("tensorboard", "checkpoints", "predictions", "evaluation"),
        *("training_data.json", "initial_rms.json", "model_card.md"),
        "validation_yardsticks.json",
    }
    assert json.loads((workdir / "config.json").read_text())["train.steps"] == STEPS
    (start,) = json.loads((workdir / "provenance.json").read_text())["starts"]
    assert start["from_step"] == 0
    assert "jax" in start["versions"]
    assert "fitted" in json.loads((workdir / "statistics.json").read_text())["origin"]
    assert f"{workdir}/evaluation/test.png" in out
    assert "mean dose map" in out
    assert f"model card: {workdir}/model_card.md" in out


def test_metrics_have_a_row_for_each_logged_step_and_validation(finished):
    rows = writers.read_json_lines(finished[0] / "metrics.jsonl")
    training = [row for row in rows if "loss/total" in row]
    assert [row["step"] for row in training] == [2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "validation/score" in row] == [6, 12]
    ones = [row["weight/dose"] for row in training[:4]]
    assert ones == [1.0] * 4  # two intervals of four steps
    assert training[4]["weight/dose"] != 1.0
    for row in training:
        assert row["weight/dose"] + row["weight/contours"] == pytest.approx(2, rel=1e-6)
        assert row["images_per_second"] > 0


def test_the_score_is_that_of_the_evaluation_over_its_yardsticks(finished):
    """The validation split has one patient, so the score is of the whole split."""
    workdir, _ = finished
    summary = json.loads((workdir / "evaluation" / "validation.json").read_text())
    assert summary["step"] == STEPS
    beside = summary["yardsticks"]
    *_, row = [
        row
        for row in writers.read_json_lines(workdir / "metrics.jsonl")
        if "validation/score" in row
    ]
    dose_gy, dice = row["validation/dose_score_gy"], row["validation/mean_dice"]
    assert dose_gy == pytest.approx(summary["openkbp_dose_score"], rel=1e-6)
    assert dice == pytest.approx(summary["mean_dice"], rel=1e-6)
    dose = dose_gy / beside["mean_dose_map"]["openkbp_dose_score"]
    contours = (1 - dice) / (1 - beside["prior_map"]["mean_dice"])
    assert row["validation/ratio/dose"] == pytest.approx(dose)
    assert row["validation/ratio/contours"] == pytest.approx(contours)
    assert row["validation/score"] == pytest.approx((dose + contours) / 2)
    item = json.loads((workdir / f"checkpoints/{STEPS}/run/metadata").read_text())
    assert item["score"] == row["validation/score"]
    assert (
        f"- validation score: {item['score']:.6g}, mean over tasks"
        in (workdir / "model_card.md").read_text()
    )


def test_predictions_are_on_the_patients_own_grid(finished):
    workdir, _ = finished
    (path,) = (workdir / "predictions" / "test").iterdir()
    prediction = volumes.read(path)
    assert prediction.dose_gy.shape == (128, 128, 128)
    assert prediction.dose_gy.dtype == np.float32
    assert prediction.contours.shape == (4, 128, 128, 128)
    assert prediction.contours.dtype == np.float16
    rows = scoring.read_csv(workdir / "evaluation" / "test.csv")
    (error,) = [
        row.error for row in rows if row.metric == "dose_error" and not row.variant
    ]
    summary = json.loads((workdir / "evaluation" / "test.json").read_text())
    assert summary["openkbp_dose_score"] == pytest.approx(error)
    beside = summary["yardsticks"]
    assert beside["mean_dose_map"]["openkbp_dose_score"] > 0
    assert beside["mean_shape_at_true_centroid"]["mean_dice"] > 0
    assert (workdir / "evaluation/yardsticks/test/prior_map.csv").exists()


def final(workdir):
    """The bytes of the last checkpoint's digest, and the reproducible metrics."""
    run = json.loads(
        (workdir / "checkpoints" / str(STEPS) / "run/metadata").read_text()
    )
    rows = writers.read_json_lines(workdir / "metrics.jsonl")
    return run["digest"], [
        {k: v for k, v in row.items() if k not in writers.TIMING} for row in rows
    ]


def test_a_run_stopped_and_killed_ends_as_one_that_was_not(command, finished, tmp_path):
    """SIGTERM saves; SIGKILL at a random moment of the next start does not."""
    workdir = tmp_path / "run"
    log, saved = workdir / "metrics.jsonl", workdir / "checkpoints"
    process = command.start(workdir, **SCHEDULE)
    while len(writers.read_json_lines(log)) < 1:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 75, err
    assert "run the same command again to continue" in err
    stopped, rows = checkpoint.steps(saved)[-1], len(writers.read_json_lines(log))
    delay = random.Random().uniform(0, 1.0)
    process = command.start(workdir, **SCHEDULE)
    assert commands.kill_in_training(process, log, rows, delay)
    status, _, err = command.run(workdir, **SCHEDULE)
    assert status == 0, err
    assert final(workdir) == final(finished[0])
    starts = json.loads((workdir / "provenance.json").read_text())["starts"]
    assert [start["from_step"] for start in starts[:2]] == [0, stopped]
    assert len(starts) == 3


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        (
            {"train__bach_size": 4},
            1,
            "train.bach_size; did you mean 'train.batch_size'",
        ),
        ({"no__key": 4}, 1, "unknown configuration key no.key"),
        ({"seed__key": 4}, 1, "unknown configuration key seed.key"),
        ({"config": "configs/nothing.py"}, 1, "configs/nothing.py"),
        ({"config": "opnkbp"}, 1, "did you mean 'openkbp'"),
        ({"train__steps": "many"}, 2, "train.steps"),
    ],
)
def test_a_wrong_flag_is_one_clear_line(command, tmp_path, settings, status, message):
    found, _, err = command.run(tmp_path / "run", **settings)
    assert found == status
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": "configs/demo.py:mutli"}, "did you mean 'multi'"),
        ({"data__structures": "('Brainsten','Larynx')"}, "'Brainstem'"),
    ],
)
def test_a_wrong_value_is_one_clear_line(command, tmp_path, settings, message):
    status, _, err = command.call(tmp_path / "run", **settings)
    assert status == 1
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_longer_cosine_goes_on_with_a_warning(command, finished, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    # As a version without these keys stored the same run.
    stored = json.loads((workdir / "config.json").read_text())
    for key in configs.BEFORE:
        del stored[key]
    stored["optimizer.decay_steps"] = STEPS
    (workdir / "config.json").write_text(json.dumps(stored))
    before = {"loss__dose_region": "all", "loss__dose_slices": "all"}
    before |= {"optimizer__no_decay": "()"}
    longer = SCHEDULE | before | {"train__steps": STEPS + 4}
    status, _, err = command.call(workdir, **longer, optimizer__decay_steps=STEPS)
    assert status == 1
    assert f"the learning rate would be 0 from step {STEPS} on; set" in err
    status, _, err = command.call(workdir, **longer)
    assert status == 0, err
    half = 3e-3 * (1 + math.cos(math.pi * STEPS / (STEPS + 4))) / 2
    assert f"ended at step {STEPS} and now ends at step {STEPS + 4}" in err
    assert f"goes on from {half:.3g} instead of 0" in err
    card = (workdir / "model_card.md").read_text()
    assert f"from step {STEPS} on: 0.003, along a cosine to 0 at step" in card
    status, _, err = command.call(workdir, **longer)
    assert status == 0, err
    assert "now ends" not in err


def test_a_workdir_of_another_run_is_refused_and_left_alone(command, finished):
    workdir, _ = finished
    before = {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()}
    status, _, err = command.call(workdir, **(SCHEDULE | {"seed": 7}))
    assert status == 1
    assert "seed was 0, is 7" in err
    assert {p: p.read_bytes() for p in workdir.rglob("*") if p.is_file()} == before
