"""What a training step compiled for a CPU computes and holds: counts, and no clock.

That nothing is compiled a second time is in test_loop.
"""

import re

import jax
import pytest

from mtl_jax.models import parameters
from mtl_jax.models.fast import rewrites
from mtl_jax.train import state as states

BATCH, SIDE = 5, 32
DECODER = (10, 6, 3)  # no other map has the channels of a decoder's
# Of each decoder block: its input's side and channels, and the channels of its skip.
BLOCKS = ((4, 32, 16), (8, 10, 4), (16, 6, 0))
# Tests compile with less effort (conftest).
AS_USERS_DO = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
}


@pytest.fixture(scope="module")
def compiled(tiny):
    """`compiled(rewrites)`: the training step of a network without attention."""
    programs = {}

    def compile_step(chosen: rewrites.Rewrites):
        step = tiny.step(
            network=tiny.network(
                name="hps",
                stage_sizes=(1, 1),
                decoder_widths=DECODER,
                rewrites=chosen,
            )
        )
        state = jax.eval_shape(
            lambda variables: states.create(
                variables, step.transform, tasks=2, metrics=step.metrics
            ),
            parameters.shapes(step.network, (SIDE, SIDE, 1)),
        )
        batch = tiny.batches(1, size=BATCH, side=SIDE)[0]
        lowered = jax.jit(step.train, donate_argnums=0).lower(state, batch)
        return lowered.compile(compiler_options=AS_USERS_DO)

    def get(chosen: rewrites.Rewrites):
        if chosen not in programs:
            programs[chosen] = compile_step(chosen)
        return programs[chosen]

    return get


def enlarged_maps(program) -> set[str]:
    """The shapes in `program` of a decoder block's input at twice its size.

    A skip beside itself, shifted to both sides, has three times its channels: where
    that is as many as the joined map's, only the enlarged one is looked for.
    """
    looked_for = set()
    for side, channels, skip in BLOCKS:
        for maps in {channels, channels + skip} - {3 * skip}:
            looked_for |= {
                f"{BATCH},{2 * side},{2 * side},{maps}",
                f"{BATCH},{side},2,{side},2,{maps}",
            }
    return looked_for & set(re.findall(r"\w+\[([\d,]+)\]", program.as_text()))


def test_no_map_is_enlarged_or_joined(compiled):
    assert enlarged_maps(compiled(rewrites.PLAIN))  # they would be found
    assert not enlarged_maps(compiled(rewrites.CPU))


def test_rewrites_save_operations(compiled):
    def operations(which: rewrites.Rewrites) -> float:
        return compiled(which).cost_analysis()["flops"]

    assert operations(rewrites.CPU) < 0.8 * operations(rewrites.PLAIN)
