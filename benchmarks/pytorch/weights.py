"""Weights of a whole network, Flax variables <-> torch state dict, by their names."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mtl_jax.models import torch_names


def to_torch(variables: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Variables {"params", "batch_stats"} as a state dict of copies, in their types."""
    return {
        name: torch.from_numpy(np.array(array, order="C"))
        for name, array in torch_names.to_torch(variables).items()
    }


def to_flax(
    state: Mapping[str, torch.Tensor], like: Mapping[str, Any]
) -> dict[str, Any]:
    """A state dict as NumPy arrays in the tree of `like`, and in its types.

    The inverse of `to_torch`. `like` may hold shapes only (`jax.eval_shape`).

    Raises:
        WeightsError: names the keys that are missing, extra, misshapen or not finite.
    """
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
    return torch_names.to_flax(arrays, like)
