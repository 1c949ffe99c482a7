"""Losses against hand-worked numbers and torch; absent structures give no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl_jax.losses import contour_loss, dose_loss, objective


def make_objective(**changes):
    options = {
        "dice_weight": 0.3,
        "cross_entropy_weight": 0.7,
        "dice_per_sample": False,
        "dice_smooth": 1e-5,
        "dose_region": "possible",
        "dose_slices": "possible",
        "contour_head": "sigmoid",
    }
    return objective.Objective(("contours", "dose"), options | changes)


def make_batch(rng, *, size=4, side=4, structures=3):
    return {
        "contours": jnp.asarray(
            rng.random((size, side, side, structures)) < 0.4, jnp.uint8
        ),
        "present": jnp.ones((size, structures)),
        "dose": jnp.asarray(rng.random((size, side, side, 1)), jnp.float32),
        "possible_dose": jnp.asarray(
            rng.random((size, side, side, 1)) < 0.6, jnp.uint8
        ),
        "has_dose": jnp.ones(size),
        "mask": jnp.ones(size),
    }


def test_dose_loss_is_the_mean_absolute_error_of_the_voxels_that_count():
    predicted = jnp.asarray([1.0, 2.0, 9.0]).reshape(1, 3, 1, 1)
    counts = jnp.asarray([1.0, 1.0, 0.0]).reshape(1, 3, 1, 1)
    sums = dose_loss.absolute_error(predicted, jnp.zeros_like(predicted), counts)
    assert float(dose_loss.mean_absolute_error(sums)) == 1.5


@pytest.mark.parametrize(
    ("region", "slices", "expected", "taught"),
    [
        # The first slice has a possible dose in its first voxel, the second in none,
        # the third has no plan, the fourth is padding. Errors 1, 2; 3, 5; 7, 7; 9, 9.
        ("possible", "possible", 1.0, [[1, 0], [0, 0]]),
        ("possible", "all", 1.0, [[1, 0], [0, 0]]),
        ("all", "possible", 1.5, [[1, 1], [0, 0]]),
        ("all", "all", 2.75, [[1, 1], [1, 1]]),
    ],
)
def test_where_the_dose_loss_counts(region, slices, expected, taught):
    errors = jnp.asarray([[1.0, 2], [3, 5], [7, 7], [9, 9]])[..., None, None]
    possible = jnp.asarray([[1, 0], [0, 0], [1, 1], [1, 1]], jnp.uint8)
    batch = {
        "dose": jnp.zeros_like(errors),
        "possible_dose": possible[..., None, None],
        "has_dose": jnp.asarray([1.0, 1, 0, 1]),
        "mask": jnp.asarray([1.0, 1, 1, 0]),
    }
    loss = objective.Objective(
        ("dose",), {"dose_region": region, "dose_slices": slices}
    )

    def total(predicted):
        return loss.losses(loss.sums({"dose": predicted}, batch))[0]["dose"]

    value, gradient = jax.value_and_grad(total)(errors)
    assert float(value) == expected
    taught = np.array([*taught, [0, 0], [0, 0]])
    np.testing.assert_array_equal(gradient[..., 0, 0], taught / taught.sum())
    assert float(loss.terms(batch)["dose"]) == taught.sum()


def test_no_possible_dose_gives_a_dose_loss_of_zero():
    batch = make_batch(np.random.default_rng(4))
    batch["possible_dose"] = jnp.zeros_like(batch["possible_dose"])
    for region in ("possible", "all"):
        loss = make_objective(dose_region=region)
        outputs = {"contours": jnp.zeros((4, 4, 4, 3)), "dose": batch["dose"] + 1}
        assert float(loss.losses(loss.sums(outputs, batch))[0]["dose"]) == 0.0


def test_dice_loss_worked_by_hand():
    # Overlap 0.5 + 1; sizes 0.5 + 1 + 0.5 and 1 + 1.
    predicted = jnp.asarray([0.5, 1.0, 0.0, 0.5]).reshape(1, 2, 2, 1)
    reference = jnp.asarray([1.0, 1.0, 0.0, 0.0]).reshape(1, 2, 2, 1)
    sums = contour_loss.dice_sums(
        predicted, reference, jnp.ones((1, 1)), per_sample=False, smooth=0.0
    )
    # 1 - 2 * 1.5 / (2 + 2)
    assert float(contour_loss.dice_loss(sums, smooth=0.0)) == pytest.approx(0.25)


def test_dice_over_the_batch_is_not_the_mean_over_samples():
    predicted = jnp.asarray([1.0, 1.0, 0.0, 1.0]).reshape(2, 1, 2, 1)
    reference = jnp.asarray([1.0, 1.0, 1.0, 0.0]).reshape(2, 1, 2, 1)
    loss = {}
    for per_sample in (False, True):
        sums = contour_loss.dice_sums(
            predicted, reference, jnp.ones((2, 1)), per_sample=per_sample, smooth=0.0
        )
        loss[per_sample] = float(contour_loss.dice_loss(sums, smooth=0.0))
    assert loss[False] == pytest.approx(1 - 2 * 2 / 6)
    assert loss[True] == pytest.approx((0 + 1) / 2)


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_structure_without_a_voxel_is_left_out_of_the_mean_dice_loss(per_sample):
    # Only the first structure has a voxel, and only in the first slice.
    predicted = jnp.asarray([[0.5, 0.5], [0.5, 0.5]]).reshape(2, 1, 1, 2)
    reference = jnp.asarray([[1.0, 0.0], [0.0, 0.0]]).reshape(2, 1, 1, 2)
    sums = contour_loss.dice_sums(
        predicted, reference, jnp.ones((2, 2)), per_sample=per_sample, smooth=0.0
    )
    # 2 * 0.5 / (1 + 1), or in the slice that shows it / (0.5 + 1).
    expected = 1 - 2 * 0.5 / (1.5 if per_sample else 2)
    assert float(contour_loss.dice_loss(sums, smooth=0.0)) == pytest.approx(expected)
    # In a second batch, only the second structure has one: now both enter the mean.
    other = contour_loss.dice_sums(
        predicted, reference[..., ::-1], jnp.ones((2, 2)), per_sample=per_sample,
        smooth=0.0,
    )  # fmt: skip
    both = jax.tree.map(jnp.add, sums, other)
    expected = 1 - 2 * 0.5 / (1.5 if per_sample else 3)
    assert float(contour_loss.dice_loss(both, smooth=0.0)) == pytest.approx(expected)


def test_no_voxel_at_all_gives_a_dice_loss_of_zero():
    batch = make_batch(np.random.default_rng(5))
    batch["contours"] = jnp.zeros_like(batch["contours"])
    loss = make_objective(cross_entropy_weight=0.0)
    outputs = {"contours": jnp.zeros((4, 4, 4, 3)), "dose": batch["dose"]}
    by_task, parts = loss.losses(loss.sums(outputs, batch))
    assert float(by_task["contours"]) == float(parts["contours"]["dice"]) == 0.0


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_cross_entropy_equals_torch(head):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    channels = 3 if head == "sigmoid" else 4
    logits = rng.normal(size=(2, 4, 4, channels)).astype(np.float32)
    if head == "sigmoid":
        reference = (rng.random((2, 4, 4, 3)) < 0.5).astype(np.float32)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            torch.from_numpy(logits), torch.from_numpy(reference)
        )
    else:
        labels = rng.integers(0, 4, (2, 4, 4))
        reference = np.eye(4, dtype=np.float32)[labels][..., 1:]
        expected = torch.nn.functional.cross_entropy(
            torch.from_numpy(logits).movedim(-1, 1), torch.from_numpy(labels)
        )
    sums = contour_loss.cross_entropy_sums(
        jnp.asarray(logits), jnp.asarray(reference), jnp.ones((2, 3)), head=head
    )
    assert float(contour_loss.cross_entropy(sums)) == pytest.approx(
        float(expected), rel=1e-6
    )


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_an_absent_structure_contributes_no_gradient(head, per_sample):
    rng = np.random.default_rng(1)
    batch = make_batch(rng)
    batch["present"] = batch["present"].at[:, 1].set(0)
    loss = make_objective(contour_head=head, dice_per_sample=per_sample)
    shape = (4, 4, 4, 3 + (head == "softmax"))
    logits = jnp.asarray(rng.normal(size=shape), jnp.float32)

    def total(logits):
        outputs = {"contours": logits, "dose": batch["dose"]}
        return loss.losses(loss.sums(outputs, batch))[0]["contours"]

    grads = jax.grad(total)(logits)
    channel = 1 + (head == "softmax")
    others = jnp.delete(grads, channel, axis=-1)
    assert float(jnp.abs(others).max()) > 0
    if head == "sigmoid":
        np.testing.assert_array_equal(grads[..., channel], 0)


def test_softmax_treats_an_absent_structure_as_background():
    # Two structures, the second absent; voxel labelled background: -log(p0 + p2).
    logits = jnp.log(jnp.asarray([0.5, 0.3, 0.2])).reshape(1, 1, 1, 3)
    sums = contour_loss.cross_entropy_sums(
        logits, jnp.zeros((1, 1, 1, 2)), jnp.asarray([[1.0, 0.0]]), head="softmax"
    )
    assert float(contour_loss.cross_entropy(sums)) == pytest.approx(
        -np.log(0.7), rel=1e-6
    )


def test_padding_and_missing_plans_change_nothing():
    rng = np.random.default_rng(2)
    loss = make_objective()
    batch = make_batch(rng)
    outputs = {
        "contours": jnp.asarray(rng.normal(size=(4, 4, 4, 3)), jnp.float32),
        "dose": jnp.asarray(rng.random((4, 4, 4, 1)), jnp.float32),
    }
    short = jax.tree.map(lambda x: x[:3], (batch, outputs))
    padded = batch | {"mask": jnp.asarray([1.0, 1.0, 1.0, 0.0])}
    expected, _ = loss.losses(loss.sums(short[1], short[0]))
    found, _ = loss.losses(loss.sums(outputs, padded))
    for task in expected:
        assert float(found[task]) == pytest.approx(float(expected[task]), rel=1e-6)
    no_plan = batch | {"has_dose": jnp.zeros(4)}
    assert float(loss.losses(loss.sums(outputs, no_plan))[0]["dose"]) == 0.0


def test_sums_of_two_halves_are_the_sums_of_the_whole():
    rng = np.random.default_rng(3)
    loss, batch = make_objective(), make_batch(rng)
    outputs = {
        "contours": jnp.asarray(rng.normal(size=(4, 4, 4, 3)), jnp.float32),
        "dose": jnp.asarray(rng.random((4, 4, 4, 1)), jnp.float32),
    }
    halves = [
        loss.sums(*jax.tree.map(lambda x, part=part: x[part], (outputs, batch)))
        for part in (slice(0, 2), slice(2, 4))
    ]
    whole = loss.sums(outputs, batch)
    jax.tree.map(
        lambda a, b, c: np.testing.assert_allclose(a + b, c, rtol=1e-5), *halves, whole
    )
