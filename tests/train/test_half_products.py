"""In bfloat16 every product of a training step has bfloat16 operands.

Read from the program that is given to the compiler, forward and backward.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.core import roles
from mtl_jax.losses import objective
from mtl_jax.models import parameters
from mtl_jax.models.fast import primitives, rewrites
from mtl_jax.train import state as states
from tests.train import conftest

SIDE = 16
# Products with a float32 operand, as (operation, result), and why each has one.
EXCEPTIONS: dict[tuple[str, str], str] = {}
PRODUCT = re.compile(
    r"stablehlo\.(dot_general|convolution)\b[^\n]*: "
    r"\(tensor<([^>]*)>, tensor<([^>]*)>\) -> tensor<([^>]*)>"
)
# One of each network and choice of tasks: the others differ in the image's channels.
ROLES = {(role.network, role.tasks): role for role in roles.ROLES.values()}


def products(program: str) -> list[tuple[str, str, str, str]]:
    """Operation, both operands and result of each product, as shapes with types."""
    found = PRODUCT.findall(program)
    # The list is whole: no product is written in another way.
    names = re.findall(r"stablehlo\.(?:dot\w*|convolution) ?[%(]", program)
    assert len(found) == len(names)
    return found


def training_step(tiny, role: roles.Role, chosen: rewrites.Rewrites, dtype) -> str:
    """The text of the lowered training step of a tiny network of `role`."""
    network = tiny.network(
        name=role.network, tasks=role.tasks, dtype=dtype, rewrites=chosen
    )
    step = tiny.step(
        network=network, objective=objective.Objective(role.tasks, conftest.LOSS)
    )
    state = jax.eval_shape(
        lambda variables: states.create(
            variables, step.transform, tasks=len(role.tasks), metrics=step.metrics
        ),
        parameters.shapes(network, (SIDE, SIDE, 1)),
    )
    return jax.jit(step.train).lower(state, tiny.batches(1)[0]).as_text()


# CTAN has every layer that the others have.
CASES = [("cpu", role) for role in ROLES.values()]
CASES += [(platform, roles.get("multi")) for platform in ("tpu", "gpu")]


@pytest.mark.parametrize(
    ("platform", "role"), CASES, ids=[f"{p}-{role.name}" for p, role in CASES]
)
def test_no_product_of_a_bfloat16_step_has_a_float32_operand(tiny, role, platform):
    chosen = rewrites.for_platform(platform)
    found = products(training_step(tiny, role, chosen, jnp.bfloat16))
    wide = {
        (operation, result)
        for operation, first, second, result in found
        if not first.endswith("xbf16") or not second.endswith("xbf16")
    }
    assert len(found) > 30  # forward, and two for each in the backward pass
    assert wide == set(EXCEPTIONS)


def test_a_float32_step_has_float32_products(tiny):
    found = products(training_step(tiny, roles.get("hps"), rewrites.CPU, jnp.float32))
    assert found
    assert all(a.endswith("xf32") and b.endswith("xf32") for _, a, b, _ in found)


@pytest.mark.parametrize("formula", ["pc,cf->pf", "bqc,bkc->bqk"])
def test_the_gradient_of_a_product_of_halves(rng, formula):
    """Against float64 with the same rounded gradient: exact but for float32 sums."""
    letters = dict.fromkeys("bpcfqk", 0) | {"b": 2, "p": 9, "c": 5, "f": 3, "q": 4}
    letters["k"] = 6
    first, second = formula.partition("->")[0].split(",")
    shapes = [[letters[axis] for axis in axes] for axes in (first, second)]
    x, y = (jnp.asarray(rng.standard_normal(s), jnp.bfloat16) for s in shapes)
    z, back = jax.vjp(lambda x, y: primitives.einsum(formula, x, y), x, y)
    dz = jnp.asarray(rng.standard_normal(z.shape), jnp.float32)
    gradients = back(dz)
    exact = [np.asarray(a, np.float64) for a in (x, y, dz.astype(jnp.bfloat16))]
    product = formula.partition("->")[2]
    expected = (
        np.einsum(f"{product},{second}->{first}", exact[2], exact[1]),
        np.einsum(f"{first},{product}->{second}", exact[0], exact[2]),
    )
    np.testing.assert_allclose(z, np.einsum(formula, *exact[:2]), atol=1e-5)
    for found, wanted in zip(gradients, expected, strict=True):
        assert found.dtype == jnp.bfloat16
        # Half a unit in the last of eight bits, and the float32 sums before.
        np.testing.assert_allclose(np.asarray(found, np.float64), wanted, 2**-8, 1e-5)
