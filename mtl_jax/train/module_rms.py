"""RMS of each module's kernels and of their updates: shows modules that have died.

Input: parameters on the host. Output: figures by module, and warnings. Losses do not
show it when a part of a network dies: if the loss gives it no gradient, the L2 decay is
its only one, of which Adam makes full-size steps down to 0.
"""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mtl_jax.train import distributed

logger = logging.getLogger(__name__)

Kernels = dict[str, list[np.ndarray]]  # by module

# A module has the first names of its parameters' paths, such as bottleneck/query_dose.
DEPTH = 2
# Kernels below this part of their initial RMS have died: what they add to the outputs
# is a thousandth of what it was. Training changes an RMS by small factors.
DEAD_RATIO = 1e-3
# The same for kernels that start at 0; a step of Adam is far larger.
DEAD_RMS = 1e-12


def kernels(params: Any) -> Kernels:
    """Copies of the host parameters with two or more axes, by module.

    Others are left out: biases, the scales of normalisation, gammas.
    """
    found: Kernels = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if leaf.ndim > 1:
            *modules, name = jax.tree_util.keystr(
                path, simple=True, separator="/"
            ).split("/")
            module = "/".join(modules[:DEPTH]) or name
            found.setdefault(module, []).append(np.array(leaf))
    return found


def rms(kernels: Kernels) -> dict[str, float]:
    """Root mean square over all numbers of each module."""
    return {module: _rms(arrays) for module, arrays in kernels.items()}


def of(params: Any) -> dict[str, float]:
    """`rms` of the kernels of the host parameters."""
    return rms(kernels(params))


def _rms(arrays: list[np.ndarray]) -> float:
    # In float32, the squares of numbers below 1e-23 are 0.
    total = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return float(np.sqrt(total / sum(array.size for array in arrays)))


def row(before: Kernels, after: Kernels) -> dict[str, float]:
    """`rms/<module>` and `update_rms/<module>` of one step's update."""
    updates = {
        module: [new - old for new, old in zip(arrays, before[module], strict=True)]
        for module, arrays in after.items()
    }
    return {f"rms/{module}": size for module, size in rms(after).items()} | {
        f"update_rms/{module}": size for module, size in rms(updates).items()
    }


class Watch:
    """Compares kernels with those at the run's start; warns of each module once."""

    def __init__(self, initial_rms: Mapping[str, float]):
        self._initial = initial_rms
        self._dead: set[str] = set()

    def look(self, row: Mapping[str, float]) -> None:
        """Warn of the modules that have died by `row`."""
        for name, size in row.items():
            if name.startswith("rms/"):
                self._warn_if_dead(name.removeprefix("rms/"), size)

    def _warn_if_dead(self, module: str, size: float) -> None:
        initial = self._initial[module]
        alive = size >= max(DEAD_RATIO * initial, DEAD_RMS)
        if alive or module in self._dead or not distributed.is_first():
            return
        self._dead.add(module)
        logger.warning(
            "module %s has died: the RMS of its kernels was %.1e at the start and is "
            "%.1e now. If the loss gives it no gradient, the weight decay alone moves "
            "it: add %r to optimizer.no_decay, in another --workdir",
            module,
            initial,
            size,
            module.split("/")[0],
        )
