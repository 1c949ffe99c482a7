"""The family of networks: sizes, shapes, types, and what makes each what it is."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.configs import common
from mtl_jax.core import errors
from mtl_jax.models import multitask, networks, parameters

TASKS = ("contours", "dose")
SHAPE = (32, 32, 1)  # H, W, C of an image
# Two stages in place of four compile faster, where the number does not matter.
SHALLOW = {"stage_sizes": (2, 2), "decoder_widths": (8, 4, 4)}


def count(tree) -> int:
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


@pytest.fixture
def image(rng) -> np.ndarray:
    return rng.standard_normal((2, 32, 64, 1)).astype(np.float32)


def outputs(network, variables, image, *, train: bool = False):
    def apply(variables, image):
        return network.apply(variables, image, train=train, mutable=["batch_stats"])

    return jax.jit(apply)(variables, image)[0]


# Network, tasks, structures, head, input channels -> parameters, running statistics.
# Counted once from an independent torch model, part by part.
SIZES = [
    ("single", ("dose",), 4, "sigmoid", 1, 32_514_833, 55_104),
    ("single", ("dose",), 4, "sigmoid", 5, 32_527_377, 55_104),
    ("single", ("dose",), 5, "sigmoid", 6, 32_530_513, 55_104),
    ("single", ("contours",), 4, "sigmoid", 1, 32_515_268, 55_104),
    ("single", ("contours",), 5, "sigmoid", 1, 32_515_413, 55_104),
    ("single", ("contours",), 5, "softmax", 1, 32_515_558, 55_104),
    ("hps", TASKS, 4, "sigmoid", 1, 41_528_341, 57_088),
    ("hps", TASKS, 5, "sigmoid", 1, 41_528_486, 57_088),
    ("mtan", TASKS, 4, "sigmoid", 1, 57_811_605, 94_208),
    ("mtan", TASKS, 5, "sigmoid", 1, 57_811_750, 94_208),
    ("ctan", TASKS, 4, "sigmoid", 1, 62_011_543, 94_208),
    ("ctan", TASKS, 5, "sigmoid", 1, 62_011_688, 94_208),
]


@pytest.mark.parametrize(
    "name, tasks, structures, head, channels, params, stats", SIZES
)
def test_sizes(
    build, shapes, name, tasks, structures, head, channels, params, stats
) -> None:
    network = build(
        name, full=True, tasks=tasks, structures=structures, contour_head=head
    )
    variables = shapes(network, channels)
    assert count(variables["params"]) == params
    assert parameters.count(network, (32, 32, channels)) == params
    assert count(variables["batch_stats"]) == stats


def multiply_adds(jaxpr) -> int:
    """Of convolutions and matrix products; additions, norms and maps left out."""
    total = 0
    for equation in jaxpr.eqns:
        output = equation.outvars[0].aval.shape
        if equation.primitive.name == "conv_general_dilated":
            total += np.prod(output) * np.prod(equation.invars[1].aval.shape[:3])
        elif equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += np.prod(output) * np.prod([shape[axis] for axis in contracted])
        for inner in equation.params.values():
            total += multiply_adds(inner.jaxpr) if hasattr(inner, "jaxpr") else 0
    return int(total)


@pytest.mark.parametrize(
    "name, tasks, channels, billions",
    [
        ("single", ("dose",), 1, 2.632),
        ("single", ("dose",), 5, 2.684),
        ("single", ("contours",), 1, 2.640),
        ("hps", TASKS, 1, 3.963),
        ("mtan", TASKS, 1, 6.647),
        ("ctan", TASKS, 1, 6.715),
    ],
)
def test_work_of_one_image(build, shapes, name, tasks, channels, billions) -> None:
    network = build(name, full=True, tasks=tasks)
    image = jnp.zeros((1, 128, 128, channels))
    traced = jax.make_jaxpr(lambda v: network.apply(v, image, train=False))(
        shapes(network, channels)
    )
    assert round(multiply_adds(traced.jaxpr) / 1e9, 3) == billions


def test_the_last_block_of_a_decoder_can_see_the_image(
    build, random_variables, image
) -> None:
    """With a kernel of zeros for it, the outputs are those without it."""
    plain, skipping = build("ctan"), build("ctan", image_skip=True)
    variables = random_variables(plain)
    changed = random_variables(skipping)
    kernel = ("decoder_dose", "block5", "conv1", "kernel")

    def at(tree):
        for name in kernel:
            tree = tree[name]
        return tree

    assert at(changed["params"]).shape[2] == at(variables["params"]).shape[2] + 1

    def without_image(path, leaf, old=None):
        del path
        if leaf.shape == old.shape:
            return old
        return np.concatenate([old, np.zeros_like(leaf[:, :, old.shape[2] :])], axis=2)

    same = jax.tree_util.tree_map_with_path(without_image, changed, variables)
    expected = outputs(plain, variables, image, train=False)
    for task, found in outputs(skipping, same, image, train=False).items():
        np.testing.assert_allclose(found, expected[task], rtol=1e-4, atol=1e-5)
    seen = outputs(skipping, changed, image, train=False)["dose"]
    assert not np.allclose(
        seen, outputs(skipping, changed, 0 * image, train=False)["dose"]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_work_with_the_image_as_a_skip(build, shapes, channels) -> None:
    network = build("ctan", image_skip=True)
    image = jnp.zeros((1, 32, 64, channels))
    traced = jax.make_jaxpr(lambda v: network.apply(v, image, train=False))(
        shapes(network, channels)
    )
    model = common.get_config().model
    model.update(stage_sizes=(2, 2, 2, 2), width=4, decoder_widths=(16, 8, 8, 4, 4))
    model.update(bottleneck_width=8, image_skip=True)
    counted = networks.multiply_adds(
        "ctan", model, tasks=TASKS, structures=4, image_shape=(32, 64, channels)
    )
    assert counted == multiply_adds(traced.jaxpr)


def test_size_of_each_part(build, shapes) -> None:
    params = shapes(build("ctan", full=True))["params"]
    assert {name: count(tree) for name, tree in params.items()} == {
        "encoder": 23_501_760,
        "attention": 16_283_264,
        "bottleneck": 4_199_938,
        "decoder_contours": 9_012_928,
        "decoder_dose": 9_012_928,
        "head_contours": 580,
        "head_dose": 145,
    }


@pytest.mark.parametrize("name", ["single", "hps", "mtan", "ctan"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_outputs_are_float32_by_task(
    build, random_variables, image, name, dtype
) -> None:
    network = build(name, dtype=dtype)
    variables = random_variables(network)
    seen = jax.eval_shape(lambda: outputs(network, variables, image, train=True))
    expected = {"contours": (2, 32, 64, 4), "dose": (2, 32, 64, 1)}
    assert {task: (x.shape, x.dtype) for task, x in seen.items()} == {
        task: (shape, jnp.float32)
        for task, shape in expected.items()
        if name != "single" or task == "dose"
    }
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}


def test_bfloat16_is_near_float32(build, random_variables, image) -> None:
    exact = build("hps", **SHALLOW)
    variables = random_variables(exact)
    near = outputs(build("hps", dtype=jnp.bfloat16, **SHALLOW), variables, image)
    for task, expected in outputs(exact, variables, image).items():
        difference = np.linalg.norm(near[task] - expected)
        assert 0 < difference < 0.05 * np.linalg.norm(expected)


def test_softmax_has_a_channel_for_the_background(build, shapes, image) -> None:
    network = build("hps", contour_head="softmax")
    seen = jax.eval_shape(lambda v: outputs(network, v, image), shapes(network))
    assert seen["contours"].shape[-1] == 5
    assert seen["dose"].shape[-1] == 1


def test_contours_beside_the_ct_are_more_input_channels(build, shapes) -> None:
    params = shapes(build("single"), channels=5)["params"]
    assert params["encoder"]["conv1"]["kernel"].shape == (7, 7, 5, 4)


def test_without_attended_skips_and_bottleneck_ctan_is_mtan_relabelled(
    build, random_variables, image
) -> None:
    plain = {"attended_skips": False, "bottleneck": False}
    mtan = build("mtan", attended_skips=False)
    variables = random_variables(mtan)
    swapped = {**variables}
    for collection in ("params", "batch_stats"):
        gates = dict(variables[collection]["attention"])
        for stage in (2, 4):
            a, b = (f"gate{stage}_{task}" for task in TASKS)
            gates[a], gates[b] = gates[b], gates[a]
        swapped[collection] = {**variables[collection], "attention": gates}
    expected = outputs(mtan, variables, image)
    seen = outputs(build("ctan", **plain), swapped, image)
    for task in TASKS:
        np.testing.assert_array_equal(seen[task], expected[task])
    # With attended skips it is another network.
    attended = build("ctan", bottleneck=False)
    other = outputs(attended, swapped, image)
    again = outputs(build("mtan"), variables, image)
    assert np.max(np.abs(other["dose"] - again["dose"])) > 1e-2


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("mtan", {"cross_gating": False, "bottleneck": False}),
        ("ctan_own_masks", {"cross_gating": False}),
        ("ctan_no_bottleneck", {"bottleneck": False}),
    ],
)
def test_ablations_are_ctan_without_its_flags(build, name, flags) -> None:
    ablation = build(name)
    assert ablation == build("ctan", **flags)
    assert ablation != build("ctan")


def test_with_gamma_zero_the_bottleneck_does_nothing(
    build, random_variables, image
) -> None:
    network = build("ctan", **SHALLOW)
    variables = random_variables(network)
    params = variables["params"]
    shut = {"gamma_contours": np.float32(0), "gamma_dose": np.float32(0)}
    zero = {**params["bottleneck"], **shut}
    closed = {**variables, "params": {**params, "bottleneck": zero}}
    without = {name: tree for name, tree in params.items() if name != "bottleneck"}
    bare = {**variables, "params": without}
    seen = outputs(network, closed, image)
    expected = outputs(build("ctan", bottleneck=False, **SHALLOW), bare, image)
    opened = outputs(network, variables, image)
    for task in TASKS:
        # Two programs: equal to rounding.
        np.testing.assert_allclose(seen[task], expected[task], rtol=0, atol=1e-5)
        assert np.max(np.abs(opened[task] - expected[task])) > 1e-3


@pytest.mark.parametrize("name", ["mtan", "ctan"])
def test_whose_gates_the_loss_of_one_task_teaches(
    build, random_variables, image, name
) -> None:
    network = build(name, bottleneck=False)
    variables = random_variables(network)

    @jax.jit
    def gradient(gates):
        def loss(gates):
            params = {**variables["params"], "attention": gates}
            seen = network.apply({**variables, "params": params}, image, train=False)
            return jnp.sum(seen["contours"] ** 2)

        return jax.grad(loss)(gates)

    taught = {
        gate: bool(np.any(tree["conv2"]["kernel"] != 0))
        for gate, tree in gradient(variables["params"]["attention"]).items()
        if gate.startswith("gate")
    }
    for stage in (1, 2, 3, 4):
        own, other = taught[f"gate{stage}_contours"], taught[f"gate{stage}_dose"]
        if name == "mtan":
            assert own and not other
        else:
            assert other and own == (stage < 4)


def test_remat_changes_no_name_and_no_value(build, random_variables, image) -> None:
    results = []
    for remat in (False, True):
        network = build("ctan", remat=remat, **SHALLOW)
        variables = random_variables(network)

        @jax.jit
        def step(variables, network=network):
            def loss(params):
                seen, updated = network.apply(
                    {**variables, "params": params},
                    image,
                    train=True,
                    mutable=["batch_stats"],
                )
                return sum(jnp.mean(x**2) for x in seen.values()), updated

            return jax.grad(loss, has_aux=True)(variables["params"])

        results.append(step(variables))
    plain, again = results
    assert jax.tree.structure(plain) == jax.tree.structure(again)
    norm = np.sqrt(sum(np.sum(x**2) for x in jax.tree.leaves(plain[0])))
    for a, b in zip(jax.tree.leaves(plain[0]), jax.tree.leaves(again[0]), strict=True):
        assert np.linalg.norm(a - b) < 1e-5 * norm
    for a, b in zip(jax.tree.leaves(plain[1]), jax.tree.leaves(again[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_initial_values_follow_seed_and_name_alone(build) -> None:
    shallow = {"stage_sizes": (2, 2), "decoder_widths": (8, 4, 4)}
    network = build("single", **shallow, remat=True, axis_name="devices")
    first = parameters.initialise(network, 1, SHAPE)
    np.testing.assert_equal(parameters.initialise(network, 1, SHAPE), first)
    larger = parameters.initialise(build("ctan", **shallow), 1, SHAPE)
    np.testing.assert_equal(larger["params"]["encoder"], first["params"]["encoder"])
    other = parameters.initialise(network, 2, SHAPE)["params"]["encoder"]["conv1"]
    assert np.all(other["kernel"] != first["params"]["encoder"]["conv1"]["kernel"])


def test_initial_values_are_those_of_flax_but_for_chance(build) -> None:
    network = build("ctan", width=16, gamma_init=0.1)
    ours = parameters.initialise(network, 0, (32, 32, 5))
    init = jax.jit(lambda key: network.init(key, jnp.zeros((1, 32, 32, 5)), train=True))
    flax = jax.device_get(init(jax.random.key(0)))
    assert jax.tree.structure(ours) == jax.tree.structure(flax)

    def check(path, a, b):
        assert a.shape == b.shape and a.dtype == b.dtype == np.float32
        if path[-1].key != "kernel":
            np.testing.assert_array_equal(a, b)
        elif a.size > 4000:
            assert np.std(a) == pytest.approx(np.std(b), rel=0.1)
            uniform = np.max(np.abs(b)) < 2 * np.std(b)
            assert (np.max(np.abs(a)) < 2 * np.std(a)) == uniform

    jax.tree_util.tree_map_with_path(check, ours["params"], flax["params"])
    fresh = {"mean": 0, "var": 1}
    for path, leaf in jax.tree_util.tree_leaves_with_path(ours["batch_stats"]):
        np.testing.assert_array_equal(leaf, fresh[path[-1].key])


def test_gammas_are_read_from_the_parameters(build, shapes, random_variables) -> None:
    params = random_variables(build("ctan"))["params"]
    assert multitask.gammas(params) == {
        "contours": params["bottleneck"]["gamma_contours"],
        "dose": params["bottleneck"]["gamma_dose"],
    }
    assert multitask.gammas(random_variables(build("mtan"))["params"]) == {}


@pytest.mark.parametrize(
    "name, changes, message",
    [
        ("ctna", {}, "unknown network 'ctna'; did you mean 'ctan'?; networks: single"),
        ("hps", {"contour_head": "sigmod"}, "unknown model.contour_head 'sigmod'"),
        ("hps", {"tasks": ("dose",)}, "'hps' needs 2 of the tasks contours and dose"),
        ("single", {"tasks": TASKS}, "'single' needs 1 of the tasks contours and dose"),
        ("single", {"tasks": ("doze",)}, "are contours and dose, got doze"),
        (
            "hps",
            {"decoder_widths": (8, 4)},
            "model.decoder_widths has 2 entries, model",
        ),
        (
            "mtan",
            {"stage_sizes": (2, 2, 1, 2)},
            "2 or more blocks in every stage: gates",
        ),
        (
            "hps",
            {"stage_sizes": (2, 2, 0, 2)},
            "'hps' needs 1 or more blocks in every stage",
        ),
    ],
)
def test_what_cannot_be_built_is_said(build, name, changes, message) -> None:
    with pytest.raises(errors.ConfigError, match=re.escape(message)):
        build(name, **changes)


def test_an_image_that_cannot_be_halved_is_refused(build, shapes) -> None:
    network = build("single")
    with pytest.raises(
        errors.ConfigError, match=r"\(1, 100, 128, 1\).*multiples of 32"
    ):
        jax.eval_shape(
            lambda v: network.apply(v, jnp.zeros((1, 100, 128, 1)), train=False),
            shapes(network),
        )
