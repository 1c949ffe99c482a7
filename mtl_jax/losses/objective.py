"""From a network's outputs and a batch to the loss of each task.

`sums` is additive over slices, batches and devices; `losses` divides once. Training
adds over the devices, validation also over the batches of a split.
"""

import dataclasses

import jax

from mtl_jax.losses import contour_loss, dose_loss

Sums = dict[str, dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Objective:
    """The paper's losses for the tasks of a role."""

    tasks: tuple[str, ...]
    dice_weight: float
    cross_entropy_weight: float
    dice_per_sample: bool
    dice_smooth: float
    contour_head: str

    def sums(self, outputs: dict[str, jax.Array], batch: dict[str, jax.Array]) -> Sums:
        """Additive parts of each loss, without padding and absent structures."""
        parts: Sums = {}
        if "contours" in self.tasks:
            logits = outputs["contours"]
            reference = batch["contours"].astype(logits.dtype)
            counts = (batch["present"] * batch["mask"][:, None]).astype(logits.dtype)
            parts["contours"] = contour_loss.dice_sums(
                contour_loss.probabilities(logits, self.contour_head),
                reference,
                counts,
                per_sample=self.dice_per_sample,
                smooth=self.dice_smooth,
            ) | contour_loss.cross_entropy_sums(
                logits, reference, counts, head=self.contour_head
            )
        if "dose" in self.tasks:
            predicted = outputs["dose"]
            counts = (batch["has_dose"] * batch["mask"]).astype(predicted.dtype)
            parts["dose"] = dose_loss.absolute_error(
                predicted, batch["dose"].astype(predicted.dtype), counts
            )
        return parts

    def losses(self, sums: Sums) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """The unweighted loss of each task, and the named parts they are made of."""
        by_task, parts = {}, {}
        if "contours" in self.tasks:
            parts["dice"] = contour_loss.dice_loss(
                sums["contours"], smooth=self.dice_smooth
            )
            parts["cross_entropy"] = contour_loss.cross_entropy(sums["contours"])
            by_task["contours"] = (
                self.dice_weight * parts["dice"]
                + self.cross_entropy_weight * parts["cross_entropy"]
            )
        if "dose" in self.tasks:
            by_task["dose"] = dose_loss.mean_absolute_error(sums["dose"])
        return by_task, parts

    def slices(self, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """How many slices (times structures) each task's loss averages over."""
        counts = {
            "contours": (batch["present"] * batch["mask"][:, None]).sum(),
            "dose": (batch["has_dose"] * batch["mask"]).sum(),
        }
        return {task: counts[task] for task in self.tasks}
