"""From the shards of a built data set to batches, and back to the patients' volumes."""

from pathlib import Path

import numpy as np
import pytest

import tfds_builders
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import batches, preprocess
from tfds_builders.openkbp import openkbp_dataset_builder

DUMMY = Path(tfds_builders.__file__).parent / "openkbp" / "dummy_data"


@pytest.fixture(scope="module")
def split(tmp_path_factory) -> prepared.Split:
    """Two patients of 128 slices, of which four each show a body."""
    data = prepared.prepare(
        openkbp_dataset_builder.Builder,
        cohort="paper",
        data_dir=tmp_path_factory.mktemp("tfds"),
        manual_dir=DUMMY,
        workers=1,
    )
    return data.splits["train"]


def test_every_voxel_comes_through(split, new_preprocess):
    pre = new_preprocess(image_size=(128, 128))
    read = list(batches.evaluation(split, preprocess=pre, batch_size=48))
    whole = {n: np.concatenate([b[n] for b in read]) for n in read[0]}
    for index, entry in enumerate(split.patients):
        patient = split.volume(index)
        rows = (whole["patient"] == index) & (whole["mask"] > 0)
        np.testing.assert_array_equal(whole["slice"][rows], np.arange(entry.slices))
        ct = np.clip(patient.ct, -1024, 1500)
        normalised = pre.restore(whole["image"][rows], entry.grid)[..., 0]
        np.testing.assert_allclose(normalised * 282.26 + 85.18, ct, atol=1e-3)
        dose = pre.restore(whole["dose"][rows], entry.grid)[..., 0]
        np.testing.assert_allclose(dose * 70, patient.dose_gy, atol=1e-4)
        contours = pre.restore(whole["contours"][rows], entry.grid)
        for channel, name in enumerate(pre.structures):
            np.testing.assert_array_equal(
                contours[..., channel] == 1, patient.structures[name]
            )


def test_training_takes_the_slices_that_show_a_body(
    split, new_preprocess, new_training
):
    training = new_training(split, preprocess=new_preprocess(image_size=(128, 128)))
    assert training.steps_per_epoch == 2
    seen = sorted(
        place
        for step in range(2)
        for place in zip(
            training.batch(step)["patient"], training.batch(step)["slice"], strict=True
        )
    )
    body = [
        (p, z) for p, e in enumerate(split.patients) for z in np.flatnonzero(e.body)
    ]
    assert seen == body


def test_statistics_of_shards(split, new_preprocess):
    mean, std = preprocess.fit_statistics(
        split, site=split.site, ct_values="hu", ct_window=(-1024.0, 1500.0)
    )
    voxels = np.stack([split.volume(i).ct for i in range(2)]).astype(float) - 1024
    assert mean == pytest.approx(voxels.mean(), rel=1e-9)
    assert std == pytest.approx(voxels.std(), rel=1e-9)
