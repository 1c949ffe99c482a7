"""Steps are exported for GPUs and TPUs on a machine without either.

CTAN has every layer that the other networks have; here it has two stages, so that there
are strided blocks too, and the forms of the platform.
"""

import jax
import jax.numpy as jnp
import pytest

from mtl_jax.models import parameters
from mtl_jax.models.fast import rewrites
from mtl_jax.train import parallel
from mtl_jax.train import state as states

SIDE, SLICES, DEVICES = 32, 8, 2


def exported(platform, function, *arguments):
    """The text of `function` for `platform`, read from its portable form."""
    program = jax.export.export(function, platforms=[platform])(*arguments)
    assert (program.platforms, program.nr_devices) == ((platform,), DEVICES)
    expected = jax.tree.leaves(jax.eval_shape(function, *arguments))
    found = [(x.shape, x.dtype) for x in program.out_avals]
    assert found == [(x.shape, x.dtype) for x in expected]
    return program.mlir_module()


@pytest.mark.parametrize(("platform", "device"), [("cuda", "gpu"), ("tpu", "tpu")])
def test_training_and_inference_are_exported(tiny, platform, device):
    network = tiny.network(
        stage_sizes=(2, 2),
        decoder_widths=(8, 8, 4),
        dtype=jnp.bfloat16,
        rewrites=rewrites.for_platform(device),
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
    where = parallel.Jit(jax.devices()[:DEVICES])
    training = exported(platform, where.update(step.train), state, batch)
    predictions = where.predictions(step.predict)
    inference = exported(platform, predictions, state, batch["image"])
    for text in (training, inference):
        # In the form for TPUs the last maps are phases: half the size, four times as
        # many channels. On a GPU they have the image's size.
        half = f"x{SIDE // 2}x{SIDE // 2}x16xbf16"
        whole = f"x{SIDE}x{SIDE}x4xbf16"
        assert (half in text, whole in text) == (platform == "tpu", platform == "cuda")
