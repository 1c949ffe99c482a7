"""Training from Python is that of the command; a callback sees it and may end it."""

import numpy as np
import pytest

import mtl_jax
from mtl_jax.evaluation import scoring
from mtl_jax.train import distributed, writers
from tests import commands
from tests.run import test_main

finished = test_main.finished  # the command's own run


@pytest.fixture(scope="module")
def stopped_and_continued(command, tmp_path_factory):
    """The folder, what the callbacks saw, and both runs: ended early, and whole."""
    home, seen = tmp_path_factory.mktemp("fit"), []
    config = commands.configure(**test_main.SCHEDULE)

    def note(step, figures):
        seen.append({"step": step} | figures)

    def after_six(step, figures):
        return step >= 6

    runs = [
        mtl_jax.fit(config, home, callbacks=callbacks, data_dir=command.data_dir)
        for callbacks in ([note, after_six], [note])
    ]
    assert not config.is_locked  # the caller's own stays as it is
    return home, seen, runs


def test_a_callback_sees_each_line_and_ends_training(stopped_and_continued):
    home, seen, (early, whole) = stopped_and_continued
    assert (early.finished, whole.finished) == (False, True)
    assert early.workdir == whole.workdir == home
    steps = [row["step"] for row in seen if "loss/total" in row]
    assert steps == sorted(set(steps)) and steps[-1] == test_main.STEPS
    assert seen == whole.log()


def test_it_trains_what_the_command_trains(stopped_and_continued, finished):
    """Stopped and continued on the way: the same lines, the same losses.

    This process has other threads, and Adam makes their rounding grow: measured 3e-6
    at step 4, 1e-2 at step 10. The losses of other batches differ by half.
    """
    rows = stopped_and_continued[2][1].log()
    expected = writers.read_json_lines(finished[0] / "metrics.jsonl")
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        assert row["step"] == other["step"]
        within = 1e-4 if row["step"] <= 4 else 0.05
        for name in row.keys() - set(writers.TIMING):
            if "loss/" in name:
                assert row[name] == pytest.approx(other[name], rel=within), name


def test_its_network_is_loaded_and_scores_as_its_evaluation(
    stopped_and_continued, command
):
    """A Patient's prediction, evaluated, has the rows of the split's evaluation."""
    home, _, (_, run) = stopped_and_continued
    assert set(run.summaries) == {"test", "validation"}
    model = mtl_jax.load_model(run)
    config = commands.configure(**test_main.SCHEDULE)
    (patient,) = mtl_jax.open_dataset(config, data_dir=command.data_dir)["test"]
    found = mtl_jax.evaluate(model.predict(patient), patient)
    rows = scoring.read_csv(home / "evaluation" / "test.csv")
    expected = [row for row in rows if not row.variant]
    assert len(found.rows) == len(expected) > 50
    for row, other in zip(found.rows, expected, strict=True):
        assert (row.structure, row.metric) == (other.structure, other.metric)
        np.testing.assert_allclose(row.value, other.value, rtol=1e-3, atol=1e-3)
    summary = run.summaries["test"]
    assert found.dose_error_gy == pytest.approx(summary["openkbp_dose_score"], 1e-4)
    assert found.dvh_error_gy == pytest.approx(summary["openkbp_dvh_score"], 1e-4)
    assert found.mean_dice == pytest.approx(summary["mean_dice"], 1e-3, abs=1e-4)


def test_an_error_comes_before_anything_is_computed(tmp_path, monkeypatch):
    with pytest.raises(mtl_jax.MtlError, match="did you mean 'multi'"):
        mtl_jax.fit("demo:multy", tmp_path)
    config = commands.configure()
    config.train.batch_size = 0
    with pytest.raises(mtl_jax.MtlError, match="batch_size is 0"):
        mtl_jax.fit(config, tmp_path)
    monkeypatch.setattr(distributed, "count", lambda: 2)
    with pytest.raises(mtl_jax.MtlError, match="one process"):
        mtl_jax.fit("demo", tmp_path)
    assert not list(tmp_path.iterdir())
