"""Dynamic weight average (DWA; Liu et al. 2019) in PyTorch, without leaving the device.

Input: the unweighted losses of each step. Output: a weight for each task. In the first
two intervals all weights are 1; then they change once an interval, by the means of the
unweighted losses over the last two intervals.
"""

import torch


class DynamicWeightAverage:
    """Weights [K] of the tasks' losses, which sum to K; tensors on `device`."""

    def __init__(
        self,
        tasks: int,
        *,
        temperature: float,
        interval: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        self.temperature = temperature
        self.interval = interval
        self.weights = torch.ones(tasks, device=device, dtype=dtype)
        self._past: list[torch.Tensor] = []  # means [K] of at most two intervals
        self._sums = torch.zeros_like(self.weights)
        self._steps = 0

    def update(self, losses: torch.Tensor) -> None:
        """Add a step's unweighted losses [K]; `interval` steps close the interval."""
        self._sums += losses
        self._steps += 1
        if self._steps < self.interval:
            return
        self._past = [*self._past[-1:], self._sums / self._steps]
        self._sums = torch.zeros_like(self._sums)
        self._steps = 0
        if len(self._past) == 2:
            before_last, last = self._past
            # A loss of exactly 0 cannot fall further: its pace is 1.
            pace = torch.where(before_last > 0, last / before_last, 1.0)
            share = torch.softmax(pace / self.temperature, dim=0)
            self.weights = len(share) * share
