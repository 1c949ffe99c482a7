"""A training step in PyTorch.

Input: batches of tensors. Output: an updated network, and losses on the device.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.pytorch import weighting

Batch = dict[str, torch.Tensor]

# The parts of a batch of mtl_jax that training reads.
NAMES = (
    "image",
    "contours",
    "present",
    "dose",
    "possible_dose",
    "has_dose",
    "mask",
)


class Training:
    """Adam with L2 decay, and dynamic weights of the tasks.

    Set the network's device, `channels_last` (of the images too) and `torch.compile`
    before. No call waits for the device.
    """

    def __init__(
        self,
        network: nn.Module,
        objective: Callable[..., dict[str, torch.Tensor]],
        tasks: Sequence[str],
        *,
        learning_rate: float = 1e-4,
        weight_decay: float = 1e-5,
        no_decay: Sequence[str] = (),
        dwa_temperature: float = 2.0,
        dwa_interval: int,
        autocast: torch.dtype | None = None,
        fused: bool = True,
    ):
        """`objective(outputs, batch)` gives the loss of each of the `tasks`.

        Args:
            network: image [B, C, H, W] to {task: [B, channels, H, W]}.
            objective: an `objective.Objective`, compiled or not.
            tasks: in the order of their weights.
            learning_rate: constant.
            weight_decay: added to the gradient, times the parameter.
            no_decay: modules that are not decayed, by their names in `mtl_jax`.
            dwa_temperature: of the softmax that makes the weights.
            dwa_interval: steps after which the weights change.
            autocast: bfloat16 for the network's arithmetic; None: that of its
                parameters.
            fused: Adam in one kernel; False: in several, over all tensors at once.

        Raises:
            ValueError: for float16, which would need its losses scaled.
        """
        if autocast not in (None, torch.bfloat16):
            raise ValueError(f"autocast is {autocast}; expected torch.bfloat16 or None")
        self.network = network.train()
        self.objective = objective
        self.tasks = tuple(tasks)
        self.autocast = autocast
        parameters = list(network.parameters())
        self.optimizer = torch.optim.Adam(
            parameter_groups(network, weight_decay, no_decay),
            lr=learning_rate,
            fused=fused,
            foreach=not fused,
        )
        self.dwa = weighting.DynamicWeightAverage(
            len(self.tasks),
            temperature=dwa_temperature,
            interval=dwa_interval,
            device=parameters[0].device,
            dtype=parameters[0].dtype,
        )

    def step(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One update; {"loss/<task>", "weight/<task>"}, scalars on the device.

        Args:
            batch: `image` [B, C, H, W], and what the objective reads.
        """
        self.optimizer.zero_grad()
        with self._precision(batch["image"].device.type):
            outputs = self.network(batch["image"])
        by_task = self.objective(outputs, batch)
        losses = torch.stack([by_task[task] for task in self.tasks])
        weights = self.dwa.weights
        torch.dot(weights, losses).backward()
        self.optimizer.step()
        losses = losses.detach()
        self.dwa.update(losses)
        return {
            f"{kind}/{task}": value
            for kind, values in (("loss", losses), ("weight", weights))
            for task, value in zip(self.tasks, values, strict=True)
        }

    def _precision(self, device: str) -> contextlib.AbstractContextManager[Any]:
        if self.autocast is None:
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=self.autocast)


def parameter_groups(
    network: nn.Module, weight_decay: float, no_decay: Sequence[str]
) -> list[dict[str, Any]]:
    """The parameters of `network` by their decay: `weight_decay`, or none."""
    # torch.compile puts a name before all others.
    left_out = tuple(f"{name.replace('_', '.')}." for name in no_decay)
    by_decay: dict[float, list[nn.Parameter]] = {weight_decay: []}
    for name, parameter in network.named_parameters():
        decays = not name.removeprefix("_orig_mod.").startswith(left_out)
        by_decay.setdefault(weight_decay * decays, []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay}
        for decay, parameters in by_decay.items()
    ]


def as_tensors(batch: Mapping[str, Any]) -> Batch:
    """A batch of `mtl_jax` as tensors: [B, H, W, C] becomes [B, C, H, W].

    Args:
        batch: NumPy arrays by name; names that are not in `NAMES` are left out.
    """
    tensors = {}
    for name in NAMES:
        if name not in batch:
            continue
        array = batch[name]
        if array.ndim == 4:
            array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
        tensors[name] = torch.from_numpy(array)
    return tensors
