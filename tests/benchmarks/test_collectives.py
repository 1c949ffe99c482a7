"""Collectives are counted in a text of known shapes and in a compiled program."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from benchmarks import collectives

TEXT = """
  %sum.1 = f32[128,3]{1,0} all-reduce(f32[128,3]{1,0} %x), channel_id=1, to_apply=%add
  %sum.2 = (f32[10]{0}, bf16[4,4]{1,0}, pred[]) all-reduce-start(%a, %b, %c), to_apply=%add
  %done = f32[10]{0} all-reduce-done(%sum.2)
  %all = u8[16]{0} all-gather(u8[4]{0} %y), dimensions={0}
  %other = f32[99]{0} add(f32[99]{0} %all-reduce.7, f32[99]{0} %z)
"""  # noqa: E501


def test_bytes_of_known_shapes():
    counts = collectives.count(TEXT)
    assert counts == {
        "all-reduce": {"count": 2, "bytes": 128 * 3 * 4 + 10 * 4 + 16 * 2 + 1},
        "all-gather": {"count": 1, "bytes": 16},
    }


def test_collectives_with_an_array_of_a_rank():
    counts = [collectives.with_rank(TEXT, rank) for rank in (0, 1, 2, 4)]
    assert counts == [1, 2, 2, 0]


def test_a_sum_over_devices_is_one_all_reduce_of_the_result():
    mesh = Mesh(np.asarray(jax.devices()), ("x",), axis_types=(AxisType.Auto,))
    spread = NamedSharding(mesh, PartitionSpec("x"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    total = jax.jit(lambda a: a.sum(0), in_shardings=spread, out_shardings=everywhere)
    text = total.lower(np.ones((8, 5), np.float32)).compile().as_text()
    assert collectives.count(text or "") == {"all-reduce": {"count": 1, "bytes": 20}}
