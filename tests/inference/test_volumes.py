"""Slices to volumes: order, padding, units, files."""

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, sites
from mtl_jax.inference import postprocess, volumes
from mtl_jax.pipeline import image_channels
from mtl_jax.pipeline import preprocess as preprocessing


def make_preprocess(size, structures=("Brainstem", "Larynx"), beside_ct="none"):
    return preprocessing.Preprocess(
        site=sites.OPENKBP,
        structures=structures,
        beside_ct=beside_ct,
        ct_values="stored",
        ct_window=(-1024.0, 1500.0),
        ct_mean=0.0,
        ct_std=1.0,
        prescription_gy=70.0,
        image_size=(size, size),
        image_spacing_mm=0.0,
        further=image_channels.NO_FURTHER,
    )


def batches(owners, batch_size, side):
    """Batches of slices whose image holds 10 * patient + z; padded at the end."""
    z = [i - owners.index(owner) for i, owner in enumerate(owners)]
    values = [10 * owner + z for owner, z in zip(owners, z, strict=True)]
    for start in range(0, len(owners), batch_size):
        part = slice(start, start + batch_size)
        missing = batch_size - len(owners[part])
        image = np.zeros((batch_size, side, side, 1), np.float32)
        image[: batch_size - missing] = np.reshape(values[part], (-1, 1, 1, 1))
        yield {
            "image": image,
            "patient": np.array(owners[part] + [0] * missing, np.int32),
            "mask": np.array([1.0] * (batch_size - missing) + [0.0] * missing),
        }


def network(image):
    """Dose is a tenth of the image, less 0.1; contours are 1 where it is above 10."""
    contours = np.concatenate([image > 10, image < 0], axis=-1)
    return {"dose": image / 10 - 0.1, "contours": contours.astype(np.float32)}


def test_each_patient_gets_its_own_slices_in_order_and_in_gy():
    owners = [0] * 3 + [1] * 4
    grids = {
        0: geometry.Grid((3, 4, 4), (1, 1, 1)),
        1: geometry.Grid((4, 4, 4), (1, 1, 1)),
    }
    found = dict(
        volumes.predict(batches(owners, 4, 4), grids, network, make_preprocess(4))
    )
    assert set(found) == {0, 1}
    # Slices 0, 1, 2 hold 0, 1, 2: doses -0.1 (cut to 0), 0, 0.1 of 70 Gy.
    np.testing.assert_allclose(found[0].dose_gy[:, 0, 0], [0, 0, 7], atol=1e-5)
    np.testing.assert_allclose(found[1].dose_gy[:, 0, 0], [63, 70, 77, 84], rtol=1e-5)
    assert found[1].contours.shape == (2, 4, 4, 4)
    np.testing.assert_array_equal(found[1].contours[0, :, 0, 0], [0, 1, 1, 1])
    assert not found[1].contours[1].any()


def test_predictions_come_back_to_a_larger_grid():
    grids = {0: geometry.Grid((2, 8, 8), (2.0, 1.0, 1.0))}
    (_, prediction), *_ = volumes.predict(
        batches([0, 0], 2, 4), grids, network, make_preprocess(4)
    )
    assert prediction.dose_gy.shape == (2, 8, 8)


def test_a_mirror_image_is_asked_too_and_left_is_right_there(rng):
    pre = make_preprocess(4, ("LeftParotid", "RightParotid"), "reference")

    def sided(image):
        """Dose: the CT's columns, weighed. Contours: left of the image is "left"."""
        weights = np.arange(4, dtype=np.float32)
        left, right = image[..., 1], image[..., 2]
        near = image[..., 0] * (weights < 1)
        return {
            "dose": (image[..., 0] * weights)[..., None],
            "contours": np.stack([near + 10 * left, 100 * right], axis=-1),
        }

    image = rng.random((2, 4, 4, 3)).astype(np.float32)
    found = volumes.with_mirror(sided, pre)(image)
    weights = np.arange(4) / 2 + np.arange(4)[::-1] / 2
    np.testing.assert_allclose(found["dose"][..., 0], image[..., 0] * weights, 1e-5)
    ct, left, right = np.moveaxis(image, -1, 0)
    # In the mirror image the right contour goes in as the left one, and comes back.
    expected = [
        (ct * (np.arange(4) < 1) + 10 * left + 100 * left) / 2,
        (100 * right + ct * (np.arange(4) > 2) + 10 * right) / 2,
    ]
    np.testing.assert_allclose(np.moveaxis(found["contours"], -1, 0), expected, 1e-5)


def test_a_file_gives_the_prediction_back(tmp_path):
    grid = geometry.Grid((2, 3, 4), (2.5, 1.0, 1.0), origin_mm=(1.0, 2.0, 3.0))
    rng = np.random.default_rng(0)
    prediction = volumes.Prediction(
        grid, rng.random((2, 3, 4), np.float32), None, ("Brainstem",)
    )
    path = tmp_path / "predictions" / "pt_1.npz"
    volumes.save(prediction, path)
    found = volumes.read(path)
    assert found.grid == grid
    assert found.contours is None
    assert found.structures == ("Brainstem",)
    np.testing.assert_array_equal(found.dose_gy, prediction.dose_gy)
    assert [p.name for p in path.parent.iterdir()] == ["pt_1.npz"]
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(errors.RecordError, match=r"pt_1\.npz.*missing or damaged"):
        volumes.read(path)


@pytest.mark.parametrize("side", [4, 7])
def test_softmax_masks_from_outputs_are_those_of_the_stored_probabilities(rng, side):
    pre, grid = make_preprocess(4), geometry.Grid((3, side, side), (1, 1, 1))
    logits = rng.normal(size=(3, 4, 4, 3))
    outputs = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    outputs = outputs[..., 1:].astype(np.float32)
    head = {"head": "softmax", "threshold": 0.5}
    found = volumes.restore_masks(outputs, grid, pre, **head)
    stored = np.stack([volumes.restore_contour(outputs, c, grid, pre) for c in (0, 1)])
    prediction = volumes.Prediction(grid, None, stored, pre.structures)
    expected = postprocess.masks(prediction, **head)
    below = 0
    for name, probability in zip(pre.structures, stored, strict=True):
        np.testing.assert_array_equal(found[name], expected[name])
        below += (probability[found[name]] < 0.5).sum()
    assert below > 0


@pytest.mark.parametrize("threshold", [0.0, 1e-7, 6.1e-5, 1.3e-4, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("side", [4, 7])
def test_a_mask_is_where_the_probability_reaches_the_threshold(rng, threshold, side):
    """Subnormal numbers, and those next to a threshold, included."""
    pre, grid = make_preprocess(4), geometry.Grid((3, side, side), (1, 1, 1))
    outputs = (10 ** rng.uniform(-9, 0, (3, 4, 4, 2))).astype(np.float32)
    outputs[0, 0, :, 0] = np.float32(threshold) * np.float32([0.9996, 0.9999, 1, 1.001])
    outputs[1, 0, :, 0] = np.float32(2**-14) * np.float32([0.999, 0.9999, 1, 1.1])
    found = volumes.restore_masks(
        outputs, grid, pre, head="sigmoid", threshold=threshold
    )
    for channel, mask in enumerate(found.values()):
        probability = volumes.restore_contour(outputs, channel, grid, pre)
        np.testing.assert_array_equal(mask, probability >= threshold)
