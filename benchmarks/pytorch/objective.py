"""The paper's losses in PyTorch (Kim et al. 2024, 2.2.4): outputs and batch to losses.

The defaults of `mtl_jax.losses`: a sigmoid for each structure, and for each structure
one Dice over all slices of the batch. Padding, structures that were not contoured and
slices without a plan add neither a value nor a gradient. A structure without any voxel
in the batch is left out of the mean of the Dice loss.
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
    ):
        super().__init__()
        self.tasks = tuple(tasks)
        self.dice_weight = dice_weight
        self.cross_entropy_weight = cross_entropy_weight
        self.smooth = smooth

    def forward(
        self, outputs: Mapping[str, torch.Tensor], batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """{task: loss} in the order of `tasks`.

        Args:
            outputs: logits of the contours [B, N, H, W], dose / prescription
                [B, 1, H, W].
            batch: `contours` [B, N, H, W] of 0 and 1, `present` [B, N], `dose`
                [B, 1, H, W], `has_dose` [B], and `mask` [B], 0 for padding.
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
                losses[task] = absolute_error(
                    output, reference, batch["has_dose"] * mask
                )
        return losses

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
    """Mean over the voxels [B, 1, H, W] of slices that count [B]; 0 where none does."""
    error = (predicted - reference).abs().sum(dim=(1, 2, 3))
    return (error * counts).sum() / (counts.sum() * predicted[0].numel()).clamp(min=1)
