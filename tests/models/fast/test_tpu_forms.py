"""The forms chosen for TPUs have fewer cycles, as the compiler for TPUs counts them.

Only the last block of a decoder and its head, forward and backward, at their size in
the paper's network: a whole network takes minutes to compile.
"""

import importlib.util
import os

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks.roofline import __main__ as entry
from benchmarks.roofline import hlo
from mtl_jax.models import decoder, layers
from mtl_jax.models.fast import rewrites

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu is not installed (extra `tpu`)",
)


@pytest.fixture(scope="module")
def v5e():
    """One device of a TPU v5e that is not there, with the compiler as users have it."""
    os.environ.update(entry.ENVIRONMENT)
    faster = jax.config.read("jax_disable_most_optimizations")  # conftest
    jax.config.update("jax_disable_most_optimizations", False)
    yield topologies.get_topology_desc(
        "v5e:1x1", platform="tpu", chips_per_host_bounds=(1, 1, 1)
    ).devices[0]
    jax.config.update("jax_disable_most_optimizations", faster)


def cycles(forms: rewrites.Rewrites, device) -> int:
    """Estimated cycles of the block, its head and all gradients, batch 8, bfloat16."""
    numerics = layers.Numerics(
        jnp.dtype("bfloat16"),
        axis_name=None,
        fast_variance=True,
        remat=False,
        rewrites=forms,
    )
    block = decoder.Decoder((16,), numerics)
    head = decoder.Head(1, numerics)
    small = jax.ShapeDtypeStruct((8, 64, 64, 32), jnp.bfloat16)
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)

    def start(key, x):
        variables = block.init(key, x, (), train=False)
        features = block.apply(variables, x, (), train=False)
        return variables, head.init(key, features)

    def loss(params, statistics, x):
        variables = {"params": params["block"], "batch_stats": statistics}
        features, _ = block.apply(variables, x, (), train=True, mutable="batch_stats")
        return jnp.square(head.apply({"params": params["head"]}, features)).mean()

    of_block, of_head = jax.eval_shape(start, key, small)
    params = {"block": of_block["params"], "head": of_head["params"]}
    sharding = SingleDeviceSharding(device)
    gradients = jax.jit(
        jax.grad(loss, argnums=(0, 2)), in_shardings=sharding, out_shardings=sharding
    )
    lowered = gradients.lower(params, of_block["batch_stats"], small)
    return sum(each.cycles or 0 for each in hlo.passes(lowered.compile().as_text()))


def test_the_last_block_takes_fewer_cycles_by_phases(v5e):
    plain, chosen = (cycles(forms, v5e) for forms in (rewrites.PLAIN, rewrites.TPU))
    assert 0 < chosen < 0.5 * plain, f"{chosen} of {plain} cycles"
