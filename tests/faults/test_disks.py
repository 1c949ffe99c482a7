"""A disk that is full, or not to be written to: said clearly, and nothing is lost."""

import dataclasses
import errno

import numpy as np
import pytest

from mtl_jax.core import errors, locks, sites
from mtl_jax.datasets import prepared
from mtl_jax.report import content, page
from mtl_jax.run import workdir
from mtl_jax.train import checkpoint, writers
from tests.faults import disks
from tests.train import small_state
from tfds_builders.openkbp import make_dummy_data, openkbp_dataset_builder

FULL = (errno.ENOSPC, errno.EFBIG)


def make_state(step, values):
    rng = np.random.default_rng(step)  # noise: it cannot be packed
    kernel = rng.normal(size=values).astype(np.float32)
    return small_state.State(np.int32(step), {"kernel": kernel}, {})


@pytest.mark.parametrize("waits", [True, False])
def test_a_save_that_finds_no_room_keeps_the_steps_before(waits):
    values = 60_000  # 240 kB a checkpoint
    with disks.small(600_000) as folder:
        with (
            pytest.raises(errors.OutputError, match=r"checkpoints: .*2\. Free disk"),
            checkpoint.Checkpoints(folder / "checkpoints") as checkpoints,
        ):
            for step in (1, 2):
                checkpoints.save(step, make_state(step, values), {}, None)
                checkpoints.wait()
            # Where only the size of a file is bounded, this is what goes beyond.
            for step in (3, 4):
                checkpoints.save(step, make_state(step, 2 * values), {}, None)
                if waits:
                    checkpoints.wait()
        with checkpoint.Checkpoints(folder / "checkpoints") as checkpoints:
            state, _ = checkpoints.restore(make_state(0, values))
        assert int(state.step) == 2
        left = {path.name for path in (folder / "checkpoints").iterdir()}
        assert left == {"1", "2"}  # what was half written is gone


def test_tensorboard_on_a_full_disk_is_an_error_and_no_hang():
    with disks.small(200_000) as folder:
        writer = writers.TensorBoard(folder / "tensorboard", resume_step=0)
        with pytest.raises(OSError) as raised:
            for step in range(10_000):
                writer.write_scalars(step, {"loss/total": 1.0, "loss/dose": 1.0})
                writer.flush()
        assert raised.value.errno in FULL


def test_metrics_on_a_full_disk_are_an_error_and_stay_readable():
    with disks.small(100_000) as folder:
        lines = writers.JsonLines(folder / "metrics.jsonl", resume_step=0)
        with pytest.raises(OSError) as raised:
            for step in range(1, 10_000):
                lines.write_scalars(step, {"loss/total": 1.0})
                lines.flush()
        assert raised.value.errno in FULL
        rows = writers.read_json_lines(folder / "metrics.jsonl")
        assert [row["step"] for row in rows] == [*range(1, len(rows) + 1)]
        assert len(rows) > 500


@pytest.mark.parametrize("size", [150_000, 250_000])
def test_a_build_that_finds_no_room_leaves_nothing_behind(size):
    with disks.small(size) as folder:
        with pytest.raises(errors.OutputError, match=r"cannot be written .*free some"):
            prepared.prepare(
                openkbp_dataset_builder.Builder,
                cohort="official",
                data_dir=folder,
                manual_dir=make_dummy_data.FOLDER,
                workers=1,
            )
        assert not (folder / "openkbp/official").exists()


def test_a_report_that_finds_no_room_leaves_the_one_before():
    study = content.Report(title="A study", site=sites.OPENKBP)
    size = len(page.html(study))
    with disks.small(4 * size) as folder:
        path = folder / "report.html"
        page.write(study, path)
        before = path.read_bytes()
        longer = dataclasses.replace(study, summary="x" * (4 * size))
        with pytest.raises(OSError) as raised:
            page.write(longer, path)
        assert raised.value.errno in FULL
        assert path.read_bytes() == before
        assert [each.name for each in folder.iterdir()] == [path.name]


def test_a_working_directory_that_is_read_only_is_refused(tmp_path):
    home = tmp_path / "run"
    workdir.write_json({"seed": 0}, home / "config.json")
    message = r"run cannot be written to \(.*\): choose another --workdir"
    for folder in (home, home / "study"):
        with (
            disks.read_only(home),
            pytest.raises(
                errors.LockedError, match=message.replace("run", folder.name)
            ),
            locks.held(folder, "choose another --workdir"),
        ):
            pass
    assert [path.name for path in home.iterdir()] == ["config.json"]


def test_a_data_set_on_a_read_only_disk_is_read(tmp_path):
    def prepare():
        return prepared.prepare(
            openkbp_dataset_builder.Builder,
            cohort="paper",
            data_dir=tmp_path,
            manual_dir=make_dummy_data.FOLDER,
            workers=1,
        )

    built = prepare()
    with disks.read_only(tmp_path / "openkbp"):
        assert prepare().splits["test"].source[61]["patient"] == "pt_241"
        assert prepare().fingerprint == built.fingerprint
