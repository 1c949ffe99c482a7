"""Slices that stay on the devices give the batches that the host makes, bit for bit."""

import dataclasses

import jax
import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.pipeline import batches, image_channels, resident
from mtl_jax.train import parallel
from mtl_jax.train import resident as residents
from tests.pipeline import conftest as noise

NONE = image_channels.NO_FURTHER
SECOND = dataclasses.replace(NONE, ct_second_window=(-160.0, 240.0))
CASES = {
    "multi": {},
    "seq_human": {"beside_ct": "reference", "ct_values": "hu"},
    "informed": {"beside_ct": "painted", "further": SECOND, "all_structures": True},
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
    kept = resident.training(split, walk, preprocess)
    assert kept.steps_per_epoch == host.steps_per_epoch
    name, devices = way
    backend = parallel.backend(
        name, devices=devices, batch_size=4, accumulate=1, evaluate_batch_size=4
    )
    put = residents.put_batches(backend, kept.table)
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


def test_processes_share_one_batch(split):
    preprocess = noise.make_preprocess()
    whole, *parts = (
        resident.training(
            split,
            noise.make_walk(split, process_index=index, process_count=count),
            preprocess,
        ).batch(2)["rows"]
        for index, count in ((0, 1), (0, 2), (1, 2))
    )
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("change", [{"neighbours": 1}, {"target_distance_mm": 5.0}])
def test_channels_that_need_other_slices_are_an_error(split, change):
    further = dataclasses.replace(NONE, **change)
    preprocess = noise.make_preprocess(beside_ct="painted", further=further)
    with pytest.raises(errors.ConfigError, match=r"data\.on_device is True"):
        resident.training(split, noise.make_walk(split), preprocess)
