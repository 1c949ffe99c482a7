"""The PyTorch networks compute what ours do: outputs, gradients, five steps."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e .[torch]")

from benchmarks.pytorch import cases, parity, runs

# Where features are carried on more than once.
DEEPER = dataclasses.replace(
    cases.TINY, stage_sizes=(2, 3, 2), decoder_widths=(8, 8, 4, 4)
)
# As programs take long to compile, what the others have parts of is left to
# `python -m benchmarks.pytorch.parity --dtype=float64`.
COMPARED = [
    *((name, "float32", cases.TINY) for name in cases.CASES if name != "single: dose"),
    ("ctan", "float64", DEEPER),  # holds every part of the others
]
# A mistake is far above its bound. In float32 an update tells little: Adam divides each
# gradient by its size, and so makes as much of the rounding of a small one.
BOUNDS = {
    "outputs, prediction": {"float32": 1e-4, "float64": 1e-12},
    "outputs, training": {"float32": 1e-4, "float64": 1e-12},
    "gradients": {"float32": 1e-3, "float64": 1e-11},
    "gradients, all batches": {"float32": np.inf, "float64": 1e-10},
    "zero gradients": {"float32": 1e-6, "float64": 1e-14},
    "statistics": {"float32": 1e-5, "float64": 1e-12},
    "losses": {"float32": 1e-4, "float64": 1e-11},
    "weights": {"float32": 1e-4, "float64": 1e-11},
    "updates": {"float32": 0.2, "float64": 1e-9},
}


@pytest.mark.parametrize("name, dtype, size", COMPARED)
def test_both_frameworks_compute_the_same(
    name: str, dtype: str, size: cases.Size
) -> None:
    found = parity.compare(cases.CASES[name], size, np.dtype(dtype))
    assert set(found) == set(BOUNDS)
    broken = {
        quantity: worst
        for quantity, worst in found.items()
        if not worst.error <= BOUNDS[quantity][dtype]
    }
    assert not broken


def run_ctan() -> tuple[runs.Run, dict[str, list[int]]]:
    case, dtype = cases.CASES["ctan"], np.dtype("float64")
    start = cases.draw_variables(case, cases.TINY, dtype)
    return runs.run_torch(case, cases.TINY, dtype, start)


def test_the_weights_change_in_the_steps_that_are_compared() -> None:
    run, _ = run_ctan()
    np.testing.assert_array_equal(run.weights[:2], 1)
    assert np.all(np.abs(run.weights[2:] - 1) > 1e-4)
    np.testing.assert_allclose(run.weights.sum(axis=1), 2)


def test_which_gradients_are_zero() -> None:
    run, _ = run_ctan()
    (gradients, *_) = run.gradients
    zero = {name for name in gradients if parity.ZERO_GRADIENT.fullmatch(name)}
    tasks = cases.CASES["ctan"].tasks
    assert zero == {
        *(f"bottleneck.key.{task}.bias" for task in tasks),
        *(
            f"attention.gate{stage}.{task}.conv{index}.bias"
            for stage in (1, 2)
            for task in tasks
            for index in (1, 2)
        ),
    }
    assert all(np.any(gradients[name]) for name in set(gradients) - zero)


def test_unbiased_variances_by_hand() -> None:
    start = {"bn.running_var": np.array([10.0]), "bn.running_mean": np.array([1.0])}
    # Two calls over the values 0 and 2, whose variance is 1, or 2 when unbiased.
    ours = {**start, "bn.running_var": np.array([0.81 * 10 + 0.09 * 1 + 0.1 * 1])}
    found = parity.unbiased(ours, start, {"bn": [2, 2]})
    np.testing.assert_allclose(found["bn.running_var"], 0.81 * 10 + 0.09 * 2 + 0.1 * 2)
    np.testing.assert_array_equal(found["bn.running_mean"], 1)


def test_an_error_that_is_not_a_number_is_the_worst() -> None:
    assert parity._worst({"a": 1.0, "b": np.nan, "c": 2.0}).where == "b"


def test_the_table() -> None:
    worst = parity.Worst(0.00012, "dose")
    assert parity.table({"hps": {"losses": worst, "weights": worst}}) == (
        "| network | losses | weights |\n|---|---|---|\n| hps | 1.2e-04 | 1.2e-04 |"
    )
