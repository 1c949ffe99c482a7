"""Time of the gamma index for a patient of 128^3 voxels, on one core and on all.

    python -m benchmarks.gamma_index [--manual_dir=DIR] [--rounds=3]

Input: the OpenKBP patient with the most structures, or a phantom. The prediction is the
blurred dose. Output: a Markdown table of processor and wall times of each pass rate,
for the patient and for a whole grid in which every voxel counts.
"""

import argparse
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import scipy
from scipy import ndimage

from benchmarks import metrics
from mtl_jax.core import anatomy, metric_names
from mtl_jax.metrics import gamma_index


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gamma_index", description="Time of the gamma index."
    )
    parser.add_argument(
        "--manual_dir", type=Path, help="folder of the raw patients; default: a phantom"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    flags = parser.parse_args()
    patient = metrics.find_patient(flags.manual_dir)
    case = metrics.make_case(patient)
    spacing_mm = patient.grid.spacing_mm
    doses = {
        f"patient {patient.patient_id}": (case.reference_gy, case.predicted_gy),
        "every voxel": everywhere(patient.grid.shape),
    }
    print(
        f"{patient.grid.shape} voxels of {spacing_mm} mm; {flags.rounds} rounds; "
        f"NumPy {np.__version__}, SciPy {scipy.__version__}, Python "
        f"{platform.python_version()}\n\n"
        "| dose | voxels | criterion | pass rate, % | processor, s | wall, s |\n"
        "|---|---|---|---|---|---|"
    )
    for name, pair in doses.items():
        for metric in anatomy.GAMMA_METRICS:
            print(row(name, pair, spacing_mm, metric, flags.rounds), flush=True)


def everywhere(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Doses of 20 to 70 Gy on the whole grid that differ by some 2 Gy."""
    rng = np.random.default_rng(0)

    def smooth(sigma: float) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
        return (field / field.std()).astype(np.float32)

    reference = np.clip(45 + 10 * smooth(6), 20, 70)
    return reference, reference + 2 * smooth(4)


def row(
    name: str,
    pair: tuple[np.ndarray, np.ndarray],
    spacing_mm: tuple[float, float, float],
    metric: str,
    rounds: int,
) -> str:
    """A line of the table: medians over rounds that share nothing."""
    parsed = metric_names.parse(metric, "patient")
    local = parsed.kind == "gamma_local"
    rate, processor, wall, voxels = 0.0, [], [], 0
    for _ in range(rounds):
        doses = gamma_index.Doses(*pair, spacing_mm)
        starts = time.process_time(), time.perf_counter()
        rate = gamma_index.pass_rate(
            doses, gamma_index.Criterion(*parsed.amounts, local)
        )
        processor.append(time.process_time() - starts[0])
        wall.append(time.perf_counter() - starts[1])
        voxels = doses.reference.size
    return (
        f"| {name} | {voxels} | {parsed.title} | {rate:.2f} | "
        f"{statistics.median(processor):.2f} | {statistics.median(wall):.2f} |"
    )


if __name__ == "__main__":
    main()
