"""The paper's losses in PyTorch (Kim et al. 2024, 2.2.4): outputs and batch to losses.

The defaults of `mtl_jax.losses`: a sigmoid for each structure, and for each structure
one Dice over all slices of the batch; the dose counts where it is possible. Padding,
structures that were not contoured and slices without a plan add neither a value nor a
gradient. A structure without any voxel in the batch is left out of the mean of the Dice
loss.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional


class Objective(nn.Module):
    """The unweighted loss of each task, scalars on the outputs' device."""

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        dice_weight: float = 0.3,
        cross_entropy_weight: float = 0.7,
        smooth: float = 1e-5,
        dose_region: str = "possible",
        dose_slices: str = "possible",
    ):
        super().__init__()
        self.tasks = tuple(tasks)
        self.dice_weight = dice_weight
        self.cross_entropy_weight = cross_entropy_weight
        self.smooth = smooth
        self.dose_region = dose_region
        self.dose_slices = dose_slices

    def forward(
        self, outputs: Mapping[str, torch.Tensor], batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """{task: loss} in the order of `tasks`.

        Args:
            outputs: logits of the contours [B, N, H, W], dose / prescription
                [B, 1, H, W].
            batch: `contours` [B, N, H, W] of 0 and 1, `present` [B, N], `dose`
                [B, 1, H, W], `possible_dose` [B, 1, H, W] of 0 and 1, `has_dose` [B],
                and `mask` [B], 0 for padding.
        """
        losses = {}
        for task in self.tasks:
            output = outputs[task]
            reference = batch[task].to(output.dtype)
            mask = batch["mask"].to(output.dtype)
            if task == "contours":
                counts = batch["present"] * mask[:, None]
                losses[task] = self.combo(output, reference, counts)
            else:
                losses[task] = absolute_error(output, reference, self.voxels(batch))
        return losses

    def voxels(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """[B, 1, H, W], 1 for a voxel whose dose counts."""
        by_slice = (batch["has_dose"] * batch["mask"])[:, None, None, None]
        possible = batch["possible_dose"].to(by_slice.dtype)
        if self.dose_region == "possible":
            return by_slice * possible
        if self.dose_slices == "possible":
            by_slice = by_slice * possible.amax(dim=(1, 2, 3), keepdim=True)
        return by_slice.expand_as(possible)

    def combo(
        self, logits: torch.Tensor, reference: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Weighted sum of Dice loss and cross-entropy; all [B, N, H, W], counts [B, N].

        Both are 0 where no structure counts.
        """
        weight = counts[:, :, None, None]
        predicted = logits.sigmoid()
        overlap = (predicted * reference * weight).sum(dim=(0, 2, 3))
        size = ((predicted + reference) * weight).sum(dim=(0, 2, 3))
        seen = ((reference * weight).sum(dim=(0, 2, 3)) > 0).to(logits.dtype)
        dice = 1 - (2 * overlap + self.smooth) / (size + self.smooth)
        dice = (dice * seen).sum() / seen.sum().clamp(min=1)
        cross_entropy = functional.binary_cross_entropy_with_logits(
            logits, reference, weight=weight, reduction="sum"
        ) / (counts.sum() * logits[0, 0].numel()).clamp(min=1)
        return self.dice_weight * dice + self.cross_entropy_weight * cross_entropy


def absolute_error(
    predicted: torch.Tensor, reference: torch.Tensor, counts: torch.Tensor
) -> torch.Tensor:
    """Mean over the voxels that count, all [B, 1, H, W]; 0 where none does."""
    return ((predicted - reference).abs() * counts).sum() / counts.sum().clamp(min=1)
