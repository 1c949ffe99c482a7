"""Modules' sizes by hand, and warnings of those that have died."""

import numpy as np
import pytest

from mtl_jax.train import module_rms


def params(**query):
    """Of a network whose module `bottleneck/query` has the kernel `query`."""
    return {
        "head": {"kernel": np.full((2, 3), 2, np.float32), "bias": np.ones(3)},
        "encoder": {
            "block1": {
                "conv1": {"kernel": np.array([[3, 3, 3]], np.float32)},
                "conv2": {"kernel": np.array([[1]], np.float32)},
                "bn1": {"scale": np.ones(3), "bias": np.ones(3)},
            }
        },
        "rows": np.full((1, 4, 1), 0.5),
        "bottleneck": {"query": query, "gamma": np.float32(0.1)},
    }


def kernels(value):
    return module_rms.kernels(params(kernel=np.full((2, 2), value, np.float32)))


def test_rms_by_hand():
    found = module_rms.rms(kernels(1e-30))
    assert found == pytest.approx(
        {
            "head": 2,
            "encoder/block1": np.sqrt((3 * 9 + 1) / 4),
            "rows": 0.5,
            "bottleneck/query": 1e-30,
        }
    )


def test_updates_are_those_of_a_step():
    before = kernels(1.0)
    row = module_rms.row(before, kernels(0.75))
    assert row["rms/bottleneck/query"] == 0.75
    assert row["update_rms/bottleneck/query"] == 0.25
    assert row["update_rms/encoder/block1"] == 0
    assert len(row) == 8


def test_kernels_are_copies():
    tree = params(kernel=np.ones((2, 2)))
    copies = module_rms.kernels(tree)
    tree["bottleneck"]["query"]["kernel"][:] = 5
    assert module_rms.rms(copies)["bottleneck/query"] == 1


@pytest.mark.parametrize(
    ("start", "now", "dead"),
    [
        (0.1, 0.11e-3, False),
        (0.1, 0.09e-3, True),
        (0.0, 1e-6, False),  # a kernel may start at 0
        (0.0, 0.0, True),
    ],
)
def test_a_module_that_has_died_is_named(caplog, start, now, dead):
    watch = module_rms.Watch(module_rms.rms(kernels(start)))
    for _ in range(2):  # once
        watch.look(module_rms.row(kernels(start), kernels(now)))
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == dead
    if dead:
        assert "module bottleneck/query has died" in told[0]
        assert "add 'bottleneck' to optimizer.no_decay" in told[0]
