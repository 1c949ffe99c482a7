"""What a cohort holds, as CSV files: plain values in long columns.

In: a Quality. Out: `patients.csv`, `structures.csv` and `names.csv`.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtl_jax.cohort import inventory
from mtl_jax.core import files


def write(found: inventory.Quality, folder: Path) -> None:
    """Write all files into `folder`."""
    _csv(folder / "patients.csv", _patient_rows(found))
    _csv(folder / "structures.csv", _structure_rows(found))
    _csv(folder / "names.csv", _name_rows(found))


def _csv(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    every = list(rows)
    with (
        files.whole(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        if every:
            writer = csv.DictWriter(file, list(every[0]))
            writer.writeheader()
            writer.writerows(every)


def _patient_rows(found: inventory.Quality) -> Iterator[dict[str, Any]]:
    for one in found.members:
        z, y, x = one.shape or ("",) * 3
        dz, dy, dx = one.spacing_mm or ("",) * 3
        yield {
            "patient": one.patient_id,
            "split": one.split,
            "taken": "no" if one.refused else "yes",
            "reason": one.refused,
            "structures": len(one.structures),
            **{"slices": z, "rows": y, "columns": x},
            **{"spacing_z_mm": dz, "spacing_y_mm": dy, "spacing_x_mm": dx},
            "highest_dose_gy": ""
            if one.highest_gy is None
            else round(one.highest_gy, 3),
            "notes": "; ".join(one.notes),
        }


def _structure_rows(found: inventory.Quality) -> Iterator[dict[str, Any]]:
    for one in found.taken:
        for drawn in one.structures:
            low, high = drawn.range_cc or ("", "")
            outside = drawn.outside_dose
            yield {
                "patient": one.patient_id,
                "split": one.split,
                "structure": drawn.structure,
                "roi": drawn.roi,
                "volume_cc": round(drawn.volume_cc, 3),
                "plausible_from_cc": low,
                "plausible_to_cc": high,
                "plausible": {True: "yes", False: "no", None: ""}[drawn.plausible],
                "outside_dose_percent": ""
                if outside is None
                else round(100 * outside, 3),
                "missing_slices": drawn.missing_slices,
            }


def _name_rows(found: inventory.Quality) -> Iterator[dict[str, Any]]:
    for (name, structure), patients in found.names.items():
        yield {"name": name, "structure": structure, "patients": patients}
