"""Differences between the networks here and those of `mtl_jax`.

    python -m benchmarks.pytorch.parity [--full] [--dtype=float64] [--networks=ctan ...]

Each network starts in both frameworks from the same random weights (gammas too: at 0
the bottleneck would have no gradient) and takes five steps on the same random batches,
with DWA's interval of one step. Output: a Markdown table with the largest errors
(`compare`) of each network. Both frameworks run on the CPU.

Three things are not compared as they are. torch keeps running variances unbiased, Flax
does not: Flax's are multiplied by n / (n - 1) before. Biases before batch-norm, and
that of the bottleneck's key (softmax does not see what is added to all scores of a
query), have no gradient but rounding: that is checked instead. And in float32 one batch
in four or so has a pixel so near to a kink (of a ReLU, a maximum, an absolute value)
that rounding puts it on different sides of it, which changes gradients by percents. So
a gradient's error is the least over the batches, each of them a first step: what is
computed differently is different in all of them. The largest is given beside it.
"""

import argparse
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
import torch
import tqdm

from benchmarks.pytorch import cases, runs
from mtl_jax.models import torch_names

# Gradients that are zero but for rounding, when batch-norm takes the batch's mean.
ZERO_GRADIENT = re.compile(
    r"attention\.gate\d\.\w+\.conv\d\.bias|bottleneck\.key\.\w+\.bias"
)
# A tensor's own norm is no measure where it is a small part of the whole gradient.
SMALL_PART = 1e-4


class Worst(NamedTuple):
    """The largest error of a quantity, and the task or tensor that has it."""

    error: float
    where: str


def compare(case: cases.Case, size: cases.Size, dtype: np.dtype) -> dict[str, Worst]:
    """Steps in both frameworks in the precision `dtype`; the errors of each quantity.

    Arrays' errors are norms of differences by norms of the arrays; a gradient's by
    1e-4 of the whole gradient's, if that is more. Gradients that should be zero are
    given by the whole one's norm. Losses' errors are relative, weights' absolute; that
    of the updates is over all parameters together.
    """
    variables = cases.draw_variables(case, size, dtype)
    with jax.enable_x64(dtype == np.float64), jax.default_device(jax.devices("cpu")[0]):
        ours = runs.run_flax(case, size, dtype, variables)
    theirs, counted = runs.run_torch(case, size, dtype, variables)
    start = torch_names.to_torch(variables)
    learnt, least, largest, rounding = gradient_errors(ours, theirs)
    moved = _norm(ours.parameters[name] - start[name] for name in learnt)
    apart = _norm(ours.parameters[name] - theirs.parameters[name] for name in learnt)
    statistics = unbiased(ours.statistics, start, counted)
    return {
        "outputs, prediction": _largest(ours.evaluated, theirs.evaluated),
        "outputs, training": _largest(ours.trained, theirs.trained),
        "gradients": _worst(least),
        "gradients, all batches": _worst(largest),
        "zero gradients": _worst(rounding or {"": 0.0}),
        "statistics": _largest(statistics, theirs.statistics),
        "losses": _worst(_by_task(case, np.abs(theirs.losses / ours.losses - 1))),
        "weights": _worst(_by_task(case, np.abs(theirs.weights - ours.weights))),
        "updates": Worst(apart / moved, ""),
    }


def gradient_errors(
    ours: runs.Run, theirs: runs.Run
) -> tuple[list[str], dict[str, float], dict[str, float], dict[str, float]]:
    """Tensors that learn; their least and largest errors; the norms of the others."""
    names = list(ours.gradients[0])
    learnt = [name for name in names if not ZERO_GRADIENT.fullmatch(name)]
    idle = [name for name in names if ZERO_GRADIENT.fullmatch(name)]
    errors, norms = [], []
    for a, b in zip(ours.gradients, theirs.gradients, strict=True):
        whole = _norm(a[name] for name in learnt)
        errors.append(
            {
                name: _norm([a[name] - b[name]])
                / max(_norm([a[name]]), SMALL_PART * whole)
                for name in learnt
            }
        )
        norms += [{name: _norm([x[name]]) / whole for name in idle} for x in (a, b)]
    return (
        learnt,
        {name: min(batch[name] for batch in errors) for name in learnt},
        {name: max(batch[name] for batch in errors) for name in learnt},
        {name: max(batch[name] for batch in norms) for name in idle},
    )


def unbiased(
    statistics: runs.Arrays, start: runs.Arrays, counted: Mapping[str, Sequence[int]]
) -> runs.Arrays:
    """Flax's statistics after a step, with torch's n / (n - 1) in the variances.

    Args:
        statistics: running means and variances by name.
        start: the same before the step.
        counted: n of each call of each batch-norm in the step, the same in all calls.
    """
    corrected = dict(statistics)
    for name in statistics:
        module, _, kind = name.rpartition(".")
        if kind == "running_var":
            n = counted[module][0]
            decayed = start[name] * 0.9 ** len(counted[module])
            corrected[name] = decayed + (statistics[name] - decayed) * n / (n - 1)
    return corrected


def _norm(arrays: Iterable[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(a, dtype=float)) for a in arrays)))


def _largest(ours: runs.Arrays, theirs: runs.Arrays) -> Worst:
    """The largest of the arrays' errors, each relative to its norm."""
    return _worst(
        {name: _norm([x - theirs[name]]) / _norm([x]) for name, x in ours.items()}
    )


def _by_task(case: cases.Case, errors: np.ndarray) -> dict[str, float]:
    return dict(zip(case.tasks, errors.max(axis=0).tolist(), strict=True))


def _worst(errors: Mapping[str, float]) -> Worst:
    """The largest error; one that is not a number is larger than any."""
    where = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    return Worst(errors[where], where)


def main() -> None:
    """Parse the flags, compare, print."""
    flags = parse_flags()
    dtype = np.dtype(flags.dtype)
    size = cases.FULL if flags.full else cases.TINY
    rows = {
        name: compare(cases.CASES[name], size, dtype)
        for name in tqdm.tqdm(flags.networks, desc="networks", disable=None)
    }
    batch, height, width = size.image
    print(
        f"{dtype}, {'full' if flags.full else 'tiny'} networks, batch {batch}, "
        f"{height} x {width}; {cases.STEPS} steps of Adam; torch {torch.__version__}, "
        f"jax {jax.__version__}, Python {platform.python_version()}\n"
    )
    print(table(rows))


def parse_flags() -> argparse.Namespace:
    """The networks, their size and the precision."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pytorch.parity",
        description="Errors between the PyTorch networks and those of mtl_jax.",
    )
    parser.add_argument("--full", action="store_true", help="use the paper's sizes")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument(
        "--networks", nargs="+", choices=cases.CASES, default=list(cases.CASES)
    )
    return parser.parse_args()


def table(rows: Mapping[str, Mapping[str, Worst]]) -> str:
    """Markdown: a row per network, a column per quantity."""
    columns = list(next(iter(rows.values())))
    lines = [
        f"| network | {' | '.join(columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    for name, errors in rows.items():
        values = " | ".join(f"{errors[column].error:.1e}" for column in columns)
        lines.append(f"| {name} | {values} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
