"""Steps are exported for GPUs and TPUs on a machine without either.

CTAN has every layer that the other networks have; here it has two stages, so that
there are strided blocks too, and the forms of the platform.
"""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from mtl_jax.models import parameters
from mtl_jax.models.fast import rewrites
from mtl_jax.train import parallel
from mtl_jax.train import state as states

SIDE, SLICES, DEVICES = 32, 8, 2
FORMS = {"cuda": rewrites.for_platform("gpu"), "tpu": rewrites.for_platform("tpu")}


@dataclasses.dataclass(frozen=True)
class Bench:
    """A step with shapes of its state and batch, and the devices that share it."""

    step: object
    state: object
    batch: object
    backend: parallel.Jit


@pytest.fixture(scope="module", params=list(FORMS))
def bench(tiny, request):
    network = tiny.network(
        stage_sizes=(2, 2),
        decoder_widths=(8, 8, 4),
        dtype=jnp.bfloat16,
        rewrites=FORMS[request.param],
        norm_slices=SLICES // DEVICES,
    )
    step = tiny.step(network=network)
    state = jax.eval_shape(
        lambda variables: states.create(
            variables, step.transform, tasks=2, metrics=step.metrics
        ),
        parameters.shapes(network, (SIDE, SIDE, 1)),
    )
    (batch,) = tiny.batches(1, size=SLICES, side=SIDE)
    backend = parallel.Jit(jax.devices()[:DEVICES])
    return request.param, Bench(step, state, batch, backend)


def exported(platform, function, *arguments):
    """The text of `function` for `platform`, read from its portable form."""
    program = jax.export.export(function, platforms=[platform])(*arguments)
    assert program.platforms == (platform,) and program.nr_devices == DEVICES
    expected = jax.tree.leaves(jax.eval_shape(function, *arguments))
    assert [(x.shape, x.dtype) for x in program.out_avals] == [
        (x.shape, x.dtype) for x in expected
    ]
    assert len(program.mlir_module_serialized) > 10_000
    return program.mlir_module()


def test_training_and_inference_are_exported(bench):
    platform, parts = bench
    where, step = parts.backend, parts.step
    training = exported(platform, where.update(step.train), parts.state, parts.batch)
    image = parts.batch["image"]
    inference = exported(platform, where.predictions(step.predict), parts.state, image)
    for text in (training, inference):
        # In the TPU's form the last maps are phases: half the size, four times as many
        # channels; on a GPU they have the image's size.
        half = f"x{SIDE // 2}x{SIDE // 2}x16xbf16"
        whole = f"x{SIDE}x{SIDE}x4xbf16"
        assert (half in text, whole in text) == (platform == "tpu", platform == "cuda")
