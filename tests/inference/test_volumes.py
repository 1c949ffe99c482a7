"""Slices to volumes: order, padding, units, averages, files."""

import tracemalloc

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, sites
from mtl_jax.inference import postprocess, volumes
from mtl_jax.pipeline import image_channels
from mtl_jax.pipeline import preprocess as preprocessing


def mean_of(*networks):
    """The mean of (outputs, preprocess) of each network."""
    mean = volumes.Mean()
    for outputs, pre in networks:
        mean.add({"contours": outputs.copy()}, pre)
    return mean


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
        volumes.predict(
            [volumes.Feed(batches(owners, 4, 4), network, make_preprocess(4))], grids
        )
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
    feed = volumes.Feed(batches([0, 0], 2, 4), network, make_preprocess(4))
    ((_, prediction),) = volumes.predict([feed], grids)
    assert prediction.dose_gy.shape == (2, 8, 8)


def outputs_of(rng, side, slices=3):
    shape = (slices, side, side)
    return {
        "dose": rng.uniform(0, 1.1, (*shape, 1)).astype(np.float32),
        "contours": rng.random((*shape, 2)).astype(np.float32),
    }


def mean_with_dose(*networks):
    mean = volumes.Mean()
    for outputs, pre in networks:
        mean.add({task: array.copy() for task, array in outputs.items()}, pre)
    return mean


@pytest.mark.parametrize("sides", [(4, 4), (4, 8), (8, 6, 4, 6)])
def test_the_mean_of_networks_is_that_of_their_predictions(rng, sides):
    """On one grid, and on several: cropped, padded, kept."""
    grid = geometry.Grid((3, 6, 6), (2.0, 1.0, 1.0))
    networks = [(outputs_of(rng, side), make_preprocess(side)) for side in sides]
    singles = [mean_with_dose(network).prediction(grid) for network in networks]
    mean = mean_with_dose(*networks)
    found = mean.prediction(grid)
    doses = np.mean([single.dose_gy for single in singles], axis=0, dtype=np.float64)
    np.testing.assert_allclose(found.dose_gy, doses, rtol=1e-6)
    assert found.dose_gy.dtype == np.float32 and found.dose_gy.max() > 20
    stored = [single.contours.astype(np.float64) for single in singles]
    # Each was rounded to 16 bits.
    np.testing.assert_allclose(found.contours, np.mean(stored, axis=0), atol=6e-4)
    for head in ("sigmoid", "softmax"):
        masks = mean.masks(grid, head=head, threshold=0.5)
        expected = postprocess.masks(found, head=head, threshold=0.5)
        for name, mask in masks.items():
            np.testing.assert_array_equal(mask, expected[name])


@pytest.mark.parametrize("side", [4, 7])
def test_a_network_twice_is_as_once(rng, side):
    grid = geometry.Grid((3, 6, 6), (2.0, 1.0, 1.0))
    network = outputs_of(rng, side), make_preprocess(side)
    once, twice = (mean_with_dose(*[network] * n).prediction(grid) for n in (1, 2))
    np.testing.assert_array_equal(once.dose_gy, twice.dose_gy)
    np.testing.assert_array_equal(once.contours, twice.contours)


def test_a_mean_dose_is_cut_at_zero_after_averaging():
    grid = geometry.Grid((1, 4, 4), (1.0, 1.0, 1.0))
    values = [np.full((1, 4, 4, 1), value, np.float32) for value in (0.4, -0.2, -0.5)]
    below = [({"dose": value}, make_preprocess(4)) for value in values]
    np.testing.assert_allclose(mean_with_dose(*below[:2]).dose(grid), 7, rtol=1e-6)
    assert not mean_with_dose(*below).dose(grid).any()


def test_networks_are_averaged_patient_by_patient():
    owners = [0] * 3 + [1] * 4 + [2]
    grids = {k: geometry.Grid((owners.count(k), 4, 4), (1, 1, 1)) for k in range(3)}

    def constant(dose):
        def apply(image):
            return {"dose": np.full_like(image, dose) + image / 100}

        return apply

    feeds = [
        volumes.Feed(batches(owners, size, side), constant(dose), make_preprocess(side))
        for size, side, dose in ((4, 4, 0.1), (3, 4, 0.2), (5, 6, 0.6))
    ]
    found = dict(volumes.predict(feeds, grids))
    assert list(found) == [0, 1, 2]
    for owner, prediction in found.items():
        slices = 0.3 + (10 * owner + np.arange(owners.count(owner))) / 100
        np.testing.assert_allclose(
            prediction.dose_gy,
            np.broadcast_to(70 * slices[:, None, None], prediction.grid.shape),
            rtol=1e-5,
        )


def test_the_next_batch_is_begun_before_one_is_read():
    events = []

    class Computed:
        """Outputs of a batch that NumPy reads."""

        def __init__(self, image):
            self.image = image
            events.append("begun")

        def __array__(self, dtype=None, copy=None):
            events.append("read")
            return self.image

    feed = batches([0, 0, 0, 1, 1, 1], 2, 4)
    found = volumes.by_patient(feed, lambda image: {"dose": Computed(image)})
    assert [outputs["dose"].shape for _, outputs in found] == [(3, 4, 4, 1)] * 2
    assert events == ["begun", "begun", "read", "begun", "read", "read"]


def peak_mb(networks):
    """Highest memory while two patients are predicted with so many networks."""
    owners, side = [0] * 10 + [1] * 10, 64
    grids = dict.fromkeys((0, 1), geometry.Grid((10, side, side), (1, 1, 1)))
    feeds = [
        volumes.Feed(batches(owners, 2, side), network, make_preprocess(side))
        for _ in range(networks)
    ]
    tracemalloc.start()
    for _ in volumes.predict(feeds, grids):
        pass
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_networks():
    two, ten = peak_mb(2), peak_mb(10)
    outputs = 3 * 10 * 64 * 64 * 4 / 2**20  # of one network for one patient
    # Each further one holds two batches of two slices, and the images of another.
    assert ten - two < 8 * 0.6 * outputs


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
    mean = mean_of((outputs, pre))
    found = mean.masks(grid, **head)
    stored = np.stack([mean.contour(channel, grid) for channel in (0, 1)])
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
    mean = mean_of((outputs, pre))
    found = mean.masks(grid, head="sigmoid", threshold=threshold)
    for channel, mask in enumerate(found.values()):
        probability = mean.contour(channel, grid)
        np.testing.assert_array_equal(mask, probability >= threshold)
