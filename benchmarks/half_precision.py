"""Measures what half precision changes in a packed network's predictions.

    python -m benchmarks.half_precision WORKDIR NETWORK_FOLDER CT_DIR...

`python -m mtl_jax.pack` made NETWORK_FOLDER of WORKDIR. Output: a Markdown table with
the difference of both predictions for each patient: of the dose in Gy, and as the
lowest Dice of a structure that both contour.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl_jax.predict import cases, trained_model
from mtl_jax.sources.dicom import reader


class Difference(NamedTuple):
    """Of two predictions for one patient."""

    largest_gy: float
    quantile_gy: float  # 99.9 % of the voxels differ by at most this
    mean_gy: float
    lowest_dice: float  # of a structure's two contours


def compare(
    one: trained_model.Prediction, other: trained_model.Prediction
) -> Difference:
    """The difference of two predictions; NaN for what the role does not predict."""
    gy = np.full(1, np.nan)
    if one.dose_gy is not None and other.dose_gy is not None:
        gy = np.abs(one.dose_gy - other.dose_gy)
    dice = [_dice(mask, other.masks[name]) for name, mask in one.masks.items()]
    return Difference(
        largest_gy=float(gy.max()),
        quantile_gy=float(np.quantile(gy, 0.999)),
        mean_gy=float(gy.mean()),
        lowest_dice=min(dice, default=np.nan),
    )


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    """The Dice coefficient of two masks; of two empty ones 1, as they agree."""
    total = np.count_nonzero(one) + np.count_nonzero(other)
    return 2 * np.count_nonzero(one & other) / total if total else 1.0


def main(arguments: list[str] | None = None) -> None:
    """Predict each patient with both, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.half_precision",
        description="What half precision changes in a network's predictions.",
    )
    for name in ("workdir", "network_folder"):
        parser.add_argument(name, type=Path)
    parser.add_argument("ct_dir", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    single, half = (
        trained_model.load(trained_model.describe(path))
        for path in (given.workdir, given.network_folder)
    )
    options = cases.ReadingOptions(reader.Options(), {})
    print("| patient | largest, Gy | 99.9 % within, Gy | mean, Gy | lowest Dice |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:  # for the key file of the ids
        folders = cases.find(given.ct_dir, Path(scratch) / "out")
    for number, folder in enumerate(folders, 1):
        patient = cases.read(folder, single.model, options, cases.AUTO).patient
        found = compare(*(trained_model.predict(n, patient) for n in (single, half)))
        print(f"| {number} | {' | '.join(f'{value:.4f}' for value in found)} |")


if __name__ == "__main__":
    main()
