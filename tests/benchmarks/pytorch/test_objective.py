"""Losses in PyTorch: by hand, and as ours where something is left out."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e .[torch]")

from benchmarks.pytorch import objective, runs, training
from mtl_jax.losses import objective as ours

TASKS = ("contours", "dose")


def test_dice_takes_all_slices_of_a_structure_together() -> None:
    # Predicted: 0.5 everywhere. True: two of four pixels, and none in the second slice.
    reference = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]]).reshape(2, 1, 2, 2)
    loss = objective.Objective(("contours",), cross_entropy_weight=0.0, smooth=0.0)
    found = loss.combo(torch.zeros(2, 1, 2, 2), reference, torch.ones(2, 1))
    # 2 * 1 / (4 + 2), and 0.3 of what is missing to 1.
    assert found.item() == pytest.approx(0.3 * (1 - 1 / 3))


def test_cross_entropy_is_the_mean_over_what_counts() -> None:
    logits = torch.tensor([[0.0, 3.0], [5.0, 7.0]]).reshape(2, 2, 1, 1)
    counts = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    loss = objective.Objective(("contours",), dice_weight=0.0)
    found = loss.combo(logits, torch.ones(2, 2, 1, 1), counts)
    expected = 0.7 * np.mean(np.log1p(np.exp([-0.0, -3.0])))
    assert found.item() == pytest.approx(expected)


def test_absolute_error_leaves_voxels_out() -> None:
    predicted = torch.tensor([1.0, 2.0, 10.0]).reshape(1, 1, 3, 1)
    counts = torch.tensor([1.0, 1.0, 0.0]).reshape(1, 1, 3, 1)
    found = objective.absolute_error(predicted, torch.zeros_like(predicted), counts)
    assert found.item() == 1.5


def test_a_structure_without_a_voxel_is_left_out_of_the_mean() -> None:
    reference = torch.zeros(2, 2, 2, 2)
    reference[0, 0, 0] = 1  # two of eight voxels of the first structure
    loss = objective.Objective(("contours",), cross_entropy_weight=0.0, smooth=0.0)
    found = loss.combo(torch.zeros(2, 2, 2, 2), reference, torch.ones(2, 2))
    assert found.item() == pytest.approx(0.3 * (1 - 2 * 1 / (4 + 2)))


@pytest.mark.parametrize(
    "left_out", ["nothing", "present", "contours", "possible_dose", "has_dose", "mask"]
)
@pytest.mark.parametrize(
    ("region", "slices"), [("possible", "all"), ("all", "possible"), ("all", "all")]
)
def test_losses_are_ours(
    left_out: str, region: str, slices: str, rng: np.random.Generator
) -> None:
    shape = (4, 4, 6)
    outputs = {
        "contours": rng.normal(size=(*shape, 2)),
        "dose": rng.normal(size=(*shape, 1)),
    }
    batch = {
        "image": np.zeros((*shape, 1)),
        "contours": (rng.random((*shape, 2)) < 0.4).astype(np.uint8),
        "present": np.array([[1.0, 0], [1, 0], [0, 0], [1, 1]]),
        "dose": rng.random((*shape, 1)),
        "possible_dose": (rng.random((*shape, 1)) < 0.4).astype(np.uint8),
        "has_dose": np.array([1.0, 0, 1, 1]),
        "mask": np.array([1.0, 1, 0, 1]),
    }
    batch["possible_dose"][3] = 0  # a slice where no dose is possible
    batch["contours"][..., 1] = 0  # a structure without a voxel
    if left_out != "nothing":
        batch[left_out] = np.zeros_like(batch[left_out])
    with jax.enable_x64(True):
        options = {"dose_region": region, "dose_slices": slices}
        reference = ours.Objective(TASKS, runs.LOSS | options)
        expected, _ = reference.losses(reference.sums(outputs, batch))
    leaves = {
        task: torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        for task, x in outputs.items()
    }
    loss = objective.Objective(TASKS, dose_region=region, dose_slices=slices)
    found = loss(leaves, training.as_tensors(batch))
    assert list(found) == list(TASKS)
    for task in TASKS:
        assert found[task].item() == pytest.approx(float(expected[task]), rel=1e-12)
        found[task].backward()
        gradient = leaves[task].grad
        assert torch.isfinite(gradient).all()
        silent = {"mask", "present" if task == "contours" else "has_dose"}
        if task == "dose" and (region, slices) != ("all", "all"):
            silent.add("possible_dose")
        assert bool(gradient.any()) == (left_out not in silent)
        assert not gradient[2].any()  # padding
