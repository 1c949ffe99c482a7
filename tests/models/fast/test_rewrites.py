"""Every rewrite against the plain form: values and all gradients, to rounding."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import initializers

from mtl_jax.models import layers, multitask
from mtl_jax.models.fast import phases, rewrites, winograd
from tests.models import numerics

# As narrow as products may be.
WIDE = rewrites.NARROW + 1


def draw(rng, *shape: int) -> jax.Array:
    return jnp.asarray(rng.standard_normal(shape), jnp.float64)


def assert_equal_with_gradients(plain, rewritten, *arguments, exact: float = 1e-13):
    """Values and vector-Jacobian products agree to `exact` of each one's norm."""
    expected, plain_gradient = jax.vjp(plain, *arguments)
    found, gradient = jax.vjp(rewritten, *arguments)
    seed = jnp.cos(jnp.arange(expected.size, dtype=expected.dtype))
    seed = seed.reshape(expected.shape)
    pairs = [(expected, found)]
    pairs += zip(plain_gradient(seed), gradient(seed), strict=True)
    for one, other in pairs:
        assert one.shape == other.shape and one.dtype == other.dtype
        assert jnp.linalg.norm(one - other) <= exact * jnp.linalg.norm(one)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [3, WIDE])
@pytest.mark.parametrize("features", [2, WIDE])
@pytest.mark.parametrize("batch", [1, 2])  # 24 pixels for 33 channels, and 48
def test_3x3_convolution(rng, stride, channels, features, batch):
    assert_equal_with_gradients(
        functools.partial(rewrites.conv, stride=stride),
        lambda x, kernel: rewrites.conv3x3(x, kernel, stride),
        draw(rng, batch, 6, 4, channels),
        draw(rng, 3, 3, channels, features),
    )


@pytest.mark.parametrize("sides", [(3, 5), (4, 3), (1, 1)])
def test_3x3_convolution_of_a_map_without_whole_squares(rng, sides):
    assert_equal_with_gradients(
        functools.partial(rewrites.conv, stride=1),
        lambda x, kernel: rewrites.conv3x3(x, kernel, 1),
        draw(rng, 8, *sides, WIDE),
        draw(rng, 3, 3, WIDE, WIDE),
    )


@pytest.mark.parametrize("form", [winograd.squares, winograd.pairs])
def test_fewer_products(rng, form):
    x, kernel = draw(rng, 2, 8, 6, 5), draw(rng, 3, 3, 5, 7)
    plain = functools.partial(rewrites.conv, stride=1)
    assert_equal_with_gradients(plain, form, x, kernel)


def test_gradient_of_the_input_from_fewer_products(rng):
    x, kernel = draw(rng, 2, 8, 6, 5), draw(rng, 3, 3, 5, 7)
    y, gradients = jax.vjp(functools.partial(rewrites.conv, stride=1), x, kernel)
    found = winograd.input_gradient(jnp.cos(y), kernel)
    np.testing.assert_allclose(found, gradients(jnp.cos(y))[0], atol=1e-13)


def test_each_form_is_taken_where_it_pays(rng, monkeypatch):
    taken = []
    for module, name in (
        (winograd, "squares"),
        (winograd, "pairs"),
        (rewrites, "conv"),
    ):
        form = getattr(module, name)

        def note(*arguments, name=name, form=form):
            taken.append(name)
            return form(*arguments)

        monkeypatch.setattr(module, name, note)
    wide = draw(rng, 3, 3, WIDE, WIDE)
    narrow = wide[..., : rewrites.NARROW]
    for shape, kernel, expected in (
        ((2, 6, 4, WIDE), wide, ["squares"]),
        ((1, 180, 180, WIDE), wide, ["pairs"]),
        ((2, 6, 4, WIDE), narrow, ["conv"]),
        ((1, 6, 4, WIDE), wide, []),  # fewer pixels than channels: one product
    ):
        taken.clear()
        rewrites.conv3x3(draw(rng, *shape), kernel, 1)
        assert taken == expected


@pytest.mark.parametrize("stride", [1, 2])
def test_1x1_convolution(rng, stride):
    assert_equal_with_gradients(
        functools.partial(rewrites.conv, stride=stride),
        functools.partial(rewrites.pointwise, stride=stride),
        draw(rng, 2, 6, 4, 3),
        draw(rng, 1, 1, 3, 5),
    )


def test_convolution_to_few_outputs(rng):
    assert_equal_with_gradients(
        functools.partial(rewrites.conv, stride=1),
        rewrites.few_outputs_conv3x3,
        draw(rng, 2, 6, 4, 5),
        draw(rng, 3, 3, 5, 1),
    )


@pytest.mark.parametrize("skips", [0, 1])
def test_convolution_of_an_upsampled_map_joined_with_a_skip(rng, skips):
    skip = [draw(rng, 2, 6, 8, 5)] * skips
    kernel = draw(rng, 3, 3, 3 + 5 * skips, 4)

    def joined(chosen: rewrites.Rewrites):
        computed = dataclasses.replace(
            numerics.PLAIN, dtype=jnp.dtype("float64"), rewrites=chosen
        )
        conv = layers.JoiningConv(4, computed, initializers.zeros)
        return lambda kernel, *x: conv.apply({"params": {"kernel": kernel}}, *x)

    arguments = kernel, draw(rng, 2, 3, 4, 3), *skip
    assert_equal_with_gradients(
        joined(rewrites.PLAIN), joined(rewrites.CPU), *arguments
    )


def test_pixels_of_a_square_become_its_channels():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    squares = [[[0, 1, 4, 5], [2, 3, 6, 7]], [[8, 9, 12, 13], [10, 11, 14, 15]]]
    np.testing.assert_array_equal(phases.from_pixels(x)[0], squares)
    np.testing.assert_array_equal(phases.to_pixels(phases.from_pixels(x)), x)


def test_convolution_of_phases(rng):
    def of_phases(x, kernel):
        large = phases.kernel_of_phases(kernel)
        return phases.to_pixels(rewrites.conv(phases.from_pixels(x), large, 1))

    assert_equal_with_gradients(
        functools.partial(rewrites.conv, stride=1),
        of_phases,
        draw(rng, 2, 6, 8, 3),
        draw(rng, 3, 3, 3, 5),
    )


@pytest.mark.parametrize("fast_variance", [True, False])
def test_batch_norm_of_phases(rng, fast_variance):
    computed = dataclasses.replace(
        numerics.PLAIN, dtype=jnp.dtype("float64"), fast_variance=fast_variance
    )
    drawn = {name: draw(rng, 5) for name in ("scale", "bias", "mean", "var")}
    statistics = {"mean": drawn["mean"], "var": jnp.square(drawn["var"])}

    def apply(by_phase, train, x, scale, bias):
        norm = layers.batch_norm(computed, train=train, name="bn", by_phase=by_phase)
        variables = {
            "params": {"scale": scale, "bias": bias},
            "batch_stats": statistics,
        }
        x = phases.from_pixels(x) if by_phase else x
        y, updated = norm.apply(variables, x, mutable=["batch_stats"])
        y = phases.to_pixels(y) if by_phase else y
        updated = updated["batch_stats"]
        return jnp.concatenate([y.ravel(), updated["mean"], updated["var"]])

    for train in (True, False):
        assert_equal_with_gradients(
            functools.partial(apply, False, train),
            functools.partial(apply, True, train),
            3 * draw(rng, 2, 4, 6, 5) + 1,
            drawn["scale"],
            drawn["bias"],
            exact=1e-12,
        )


@pytest.mark.parametrize("skips", [0, 1])
def test_convolution_of_an_enlarged_map_to_phases(rng, skips):
    kernel = draw(rng, 3, 3, 3 + 5 * skips, 4)
    computed = dataclasses.replace(numerics.PLAIN, dtype=jnp.dtype("float64"))

    def joined(by_phase: bool):
        conv = layers.JoiningConv(4, computed, initializers.zeros, by_phase=by_phase)

        def apply(kernel, *x):
            y = conv.apply({"params": {"kernel": kernel}}, *x)
            return phases.to_pixels(y) if by_phase else y

        return apply

    skip = [draw(rng, 2, 6, 8, 5)] * skips
    assert_equal_with_gradients(
        joined(False), joined(True), kernel, draw(rng, 2, 3, 4, 3), *skip
    )


@pytest.mark.parametrize("size", [2, 3])
def test_max_pool_with_ties_and_below_zero(rng, size):
    x = jnp.floor(draw(rng, 2, 8, 6, 3)) - 2  # many equal neighbours, few above zero
    assert_equal_with_gradients(
        lambda x: layers.max_pool(x, size, rewrites.PLAIN),
        lambda x: layers.max_pool(x, size, rewrites.CPU),
        x,
        exact=1e-15,
    )


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("row", [2, 3])
@pytest.mark.parametrize("column", [2, 3])
def test_max_pool_keeps_a_nan_wherever_it_is(rng, size, row, column):
    x = draw(rng, 1, 8, 6, 2).at[0, row, column, 0].set(jnp.nan)
    plain = functools.partial(layers.max_pool, size=size, forms=rewrites.PLAIN)
    expected = plain(x)
    assert jnp.isnan(expected).any()
    np.testing.assert_array_equal(rewrites.max_pool(x, size), expected)


@pytest.mark.parametrize("chosen", [rewrites.CPU, rewrites.TPU])
def test_a_whole_network_and_its_gradient(build, random_variables, rng, chosen):
    # In float32 a small network doubles a rounding error at every layer.
    networks = [
        build("ctan", rewrites=r, dtype=jnp.dtype("float64"), image_skip=True)
        for r in (rewrites.PLAIN, chosen)
    ]
    variables = jax.tree.map(np.float64, random_variables(networks[0]))
    image = rng.standard_normal((2, 32, 32, 1))

    def loss(network, params):
        outputs, updated = network.apply(
            {**variables, "params": params}, image, train=True, mutable=["batch_stats"]
        )
        total = sum(jnp.mean(jnp.cos(output)) for output in outputs.values())
        return total, updated

    plain, other = (
        jax.jit(
            jax.value_and_grad(functools.partial(loss, network.clone()), has_aux=True)
        )(variables["params"])
        for network in networks
    )
    np.testing.assert_allclose(other[0][0], plain[0][0], rtol=1e-12)
    for a, b in zip(*map(jax.tree.leaves, (plain[0][1], other[0][1])), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-10)
    whole = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(plain[1])))
    for a, b in zip(*map(jax.tree.leaves, (plain[1], other[1])), strict=True):
        assert a.dtype == b.dtype == jnp.float64
        assert np.linalg.norm(a - b) <= 1e-8 * whole


def test_bfloat16_sums_are_as_exact_as_the_plain_form(rng):
    x, kernel = draw(rng, 2, 8, 8, 64), draw(rng, 3, 3, 64, 64)
    exact = rewrites.conv(x, kernel, 1)
    halves = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)

    def error(form) -> float:
        found = form(*halves)
        assert found.dtype == jnp.bfloat16
        return float(jnp.linalg.norm(found.astype(exact.dtype) - exact))

    plain = error(functools.partial(rewrites.conv, stride=1))
    assert error(lambda x, kernel: rewrites.conv3x3(x, kernel, 1)) <= 1.05 * plain
    assert error(rewrites.few_outputs_conv3x3) <= 1.05 * plain


def test_every_platform_has_its_choice():
    assert rewrites.for_platform("cpu") == rewrites.CPU
    assert rewrites.for_platform("tpu") == rewrites.TPU


@pytest.mark.parametrize("platform", ["gpu", "cuda", "rocm"])
def test_gpus_compute_the_plain_forms(platform):
    # A strided 1x1 convolution as a product aborts XLA of jax 0.10 on GPUs.
    assert rewrites.for_platform(platform) == rewrites.PLAIN


@pytest.mark.parametrize("chosen", [rewrites.CPU, rewrites.TPU])
def test_no_rewrite_changes_a_parameter(build, shapes, chosen):
    plain, other = (shapes(build("ctan", rewrites=r)) for r in (rewrites.PLAIN, chosen))
    assert jax.tree.map(lambda x: x.shape, plain) == jax.tree.map(
        lambda x: x.shape, other
    )
    assert multitask.gammas(plain["params"]).keys() == {"contours", "dose"}
