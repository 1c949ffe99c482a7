"""Slices that stay on the devices give the batches that the host makes, bit for bit."""

import dataclasses

import jax
import numpy as np
import pytest

from mtl_jax.pipeline import augment, batches, image_channels, resident
from mtl_jax.train import parallel
from mtl_jax.train import resident as residents
from tests.pipeline import conftest as noise

NONE = image_channels.NO_FURTHER
SECOND = dataclasses.replace(NONE, ct_second_window=(-160.0, 240.0))
EVERYTHING = dataclasses.replace(
    SECOND, neighbours=2, neighbour_mm=5.0, target_distance_mm=40.0
)
CASES = {
    "multi": {},
    "seq_human": {"beside_ct": "reference", "ct_values": "hu"},
    "informed": {"beside_ct": "painted", "further": SECOND, "all_structures": True},
    "neighbours": {"further": dataclasses.replace(SECOND, neighbours=1)},
    "resampled": {"image_size": (32, 32), "image_spacing_mm": 3.0},
}
WAYS = (("jit", 1), ("jit", 4), ("pmap", 4))


@pytest.fixture(scope="module")
def split():
    """Two patients, one without a mask; the first slice of each is air."""
    found = noise.make_split(np.random.default_rng(3), (7, 6), empty=1)
    for example in found.source:
        example["ct"][:4] = (
            np.linspace(-2000, 3000, 64).reshape(4, 16) * example["ct"].any()
        )
    found.source[8]["has_dose"] = False
    found.patients[1].has_mask = False
    return found


@pytest.mark.parametrize(("way", "case"), [
    *((WAYS[0], case) for case in CASES), *((way, "informed") for way in WAYS[1:])
])  # fmt: skip
def test_batches_are_those_of_the_host(split, way, case):
    preprocess = noise.make_preprocess(**CASES[case])
    times = np.where(np.arange(len(split.source)) % 3, 1, 2)
    walk = noise.make_walk(split, seed=5, times=times)
    host = batches.training(split, walk, preprocess=preprocess, augment=None)
    kept = resident.training(split, walk, preprocess, None)
    assert kept.steps_per_epoch == host.steps_per_epoch
    name, devices = way
    backend = parallel.backend(
        name, devices=devices, batch_size=4, accumulate=1, evaluate_batch_size=4
    )
    put, _ = residents.put_batches(backend, kept.table)
    for step in (0, 3, 1000):
        expected = backend.put_batch(host.batch(step))
        found = put(kept.batch(step))
        assert found.keys() == expected.keys()
        for key, array in expected.items():
            one, other = jax.device_get((array, found[key]))
            assert one.dtype == other.dtype and one.any(), key
            np.testing.assert_array_equal(one, other, err_msg=key)
            if name == "jit":  # the batch of pmap is still on the host
                spread = array.sharding
                assert found[key].sharding.is_equivalent_to(spread, array.ndim)


@pytest.mark.parametrize("devices", [1, 4])
def test_the_batches_of_several_steps_are_those_of_each(split, devices):
    kept = resident.training(
        split, noise.make_walk(split, seed=5), noise.make_preprocess(), None
    )
    backend = parallel.backend(
        "jit", devices=devices, batch_size=4, accumulate=1, evaluate_batch_size=4
    )
    put, put_several = residents.put_batches(backend, kept.table, several=True)
    steps = [kept.batch(step) for step in (0, 3, 7)]
    stacked = jax.tree.map(lambda *arrays: np.stack(arrays), *steps)
    found = put_several(stacked)
    for number, batch in enumerate(steps):
        for key, array in put(batch).items():
            np.testing.assert_array_equal(found[key][number], array, err_msg=key)


def test_processes_share_one_batch(split):
    preprocess = noise.make_preprocess()
    whole, *parts = (
        resident.training(
            split,
            noise.make_walk(split, process_index=index, process_count=count),
            preprocess,
            None,
        ).batch(2)["rows"]
        for index, count in ((0, 1), (0, 2), (1, 2))
    )
    np.testing.assert_array_equal(np.concatenate(parts), whole)


CHANGES = {
    "flip": dict(flip=1.0),
    "shift": dict(flip=0.5, translation_px=3.0),
    "all": dict(
        flip=0.5, rotation_deg=10.0, rotation_step_deg=40.0, translation_px=2.0,
        scale=0.1,
    ),
}  # fmt: skip
STILL = dict(
    flip=0.0, rotation_deg=0.0, rotation_step_deg=0.0, translation_px=0.0, scale=0.0,
    ct_noise=0.0,
)  # fmt: skip


def make_augment(**changes):
    return augment.Augment(site=noise.SITE, ct_std=282.26, **(STILL | changes))


def both(split, preprocess, change, devices=1):
    """A batch of the host and that of the device, as NumPy arrays."""
    walk = noise.make_walk(split, seed=5)
    host = batches.training(split, walk, preprocess=preprocess, augment=change)
    kept = resident.training(split, walk, preprocess, change)
    backend = parallel.backend(
        "jit", devices=devices, batch_size=4, accumulate=1, evaluate_batch_size=4
    )
    put, _ = residents.put_batches(backend, kept.table)
    return host.batch(2), jax.device_get(put(kept.batch(2)))


@pytest.mark.parametrize("change", CHANGES)
def test_random_changes_are_those_of_the_host(split, change):
    for example in split.source:
        example["target_distance"] = example["ct"] // 7 - 100
    preprocess = noise.make_preprocess(beside_ct="painted", further=EVERYTHING)
    expected, found = both(split, preprocess, make_augment(**CHANGES[change]))
    for key, array in expected.items():
        assert found[key].dtype == array.dtype, key
        # Both interpolate in float32; a pixel between two is read alike in both, since
        # no random place lies half-way.
        np.testing.assert_allclose(found[key], array, atol=2e-4, err_msg=key)
    if change == "flip":
        np.testing.assert_array_equal(found["image"], expected["image"])
    assert np.std(found["image"][..., -1]) > 0.1


def test_random_changes_do_not_depend_on_the_devices(split):
    preprocess = noise.make_preprocess(further=SECOND)
    change = make_augment(**CHANGES["all"], ct_noise=0.1)
    (_, one), (_, four) = (both(split, preprocess, change, n) for n in (1, 4))
    for key, array in one.items():
        np.testing.assert_array_equal(array, four[key], err_msg=key)


def test_noise_has_its_deviation_and_differs_from_row_to_row(split):
    further = dataclasses.replace(NONE, neighbours=1)
    preprocess = noise.make_preprocess(
        image_size=(64, 64),
        image_spacing_mm=1.0,
        further=further,
        ct_window=(-1e4, 1e4),
    )
    quiet, noisy = (
        both(split, preprocess, make_augment(ct_noise=each))[1]["image"]
        for each in (0.0, 0.1)
    )
    drawn = (noisy - quiet).reshape(4, -1, 3)
    # 4096 numbers: the deviation's own is 1.1 %.
    np.testing.assert_allclose(drawn.std(axis=1), 0.1, rtol=0.05)
    series = drawn.transpose(0, 2, 1).reshape(12, -1)
    other = np.corrcoef(series) - np.eye(12)
    assert np.abs(other).max() < 0.08
