"""An Inventory as CSV files: `patients.csv`, `structures.csv` and `names.csv`.

Input: an Inventory and a folder. Output: the three files, one row for each patient,
structure of a patient, and ROI name.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtl_jax.cohort import inventory
from mtl_jax.core import csv_cells, files


def write(cohort: inventory.Inventory, folder: Path) -> None:
    """Write the three files into `folder`."""
    _write_csv(folder / "patients.csv", _patient_rows(cohort))
    _write_csv(folder / "structures.csv", _structure_rows(cohort))
    _write_csv(folder / "names.csv", _name_rows(cohort))


def _write_csv(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    all_rows = list(rows)
    with (
        files.whole(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        if all_rows:
            writer = csv.writer(file)
            writer.writerow(all_rows[0])
            for row in all_rows:
                writer.writerow(map(csv_cells.harmless, row.values()))


def _patient_rows(cohort: inventory.Inventory) -> Iterator[dict[str, Any]]:
    for patient in cohort.patients:
        z, y, x = patient.shape or ("",) * 3
        dz, dy, dx = patient.spacing_mm or ("",) * 3
        dose_gy = patient.max_dose_gy
        yield {
            "patient": patient.patient_id,
            "split": patient.split,
            "taken": "no" if patient.refusal else "yes",
            "reason": patient.refusal,
            "structures": len(patient.structures),
            **{"slices": z, "rows": y, "columns": x},
            **{"spacing_z_mm": dz, "spacing_y_mm": dy, "spacing_x_mm": dx},
            "highest_dose_gy": "" if dose_gy is None else round(dose_gy, 3),
            "notes": "; ".join(patient.notes),
        }


def _structure_rows(cohort: inventory.Inventory) -> Iterator[dict[str, Any]]:
    for patient in cohort.accepted:
        for entry in patient.structures:
            low, high = entry.plausible_cc or ("", "")
            outside = entry.fraction_outside_dose
            yield {
                "patient": patient.patient_id,
                "split": patient.split,
                "structure": entry.structure,
                "roi": entry.roi_name,
                "volume_cc": round(entry.volume_cc, 3),
                "plausible_from_cc": low,
                "plausible_to_cc": high,
                "plausible": {True: "yes", False: "no", None: ""}[entry.plausible],
                "outside_dose_percent": ""
                if outside is None
                else round(100 * outside, 3),
                "missing_slices": entry.missing_slices,
            }


def _name_rows(cohort: inventory.Inventory) -> Iterator[dict[str, Any]]:
    for (name, structure), patients in cohort.roi_counts.items():
        yield {"name": name, "structure": structure, "patients": patients}
