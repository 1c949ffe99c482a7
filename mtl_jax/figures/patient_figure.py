"""A patient without predictions: contours and dose over the CT, on a few slices.

Input: a Patient. Output: a PNG.
"""

from collections.abc import Sequence
from pathlib import Path

from mtl_jax.core import records, sites
from mtl_jax.figures import colours, panel_grid, slice_choice, slice_panels

ROWS = 3  # slices
PANEL_WIDTH = 3.4  # inches


def draw(
    path: Path,
    patient: records.Patient,
    *,
    site: sites.Site,
    title: str,
    names: Sequence[str] | None = None,
) -> None:
    """Draw the CT with contours and, if the patient has a dose, the CT with the dose.

    `names` are the structures in the legend; None: all structures of the site.
    """
    numbers = slice_choice.choose_slices(patient, site.contoured, ROWS)
    slices = slice_panels.cut_slices(patient, site, numbers)
    columns = 2 if patient.dose_gy is not None else 1
    grid = panel_grid.PanelGrid(
        len(slices), columns, slices[0].proportion, panel_width=PANEL_WIDTH
    )
    for row, ct_slice in enumerate(slices):
        axis = grid.add_panel(row, 0, "" if row else "CT and contours")
        slice_panels.draw_ct(axis, ct_slice)
        slice_panels.draw_contours(axis, ct_slice, patient.structures)
        slice_panels.add_orientation(axis, ct_slice, f"slice {ct_slice.z}")
    if patient.dose_gy is not None:
        norm = slice_panels.dose_norm([patient.dose_gy[numbers]])
        grid.add_bar(1, 1, norm, colours.DOSE_MAP, "dose (Gy)")
        targets = any(target.any() for cut in slices for target in cut.targets())
        heading = "Dose and targets (white)" if targets else "Dose"
        for row, ct_slice in enumerate(slices):
            axis = grid.add_panel(row, 1, "" if row else heading)
            slice_panels.draw_dose(axis, ct_slice, patient.dose_gy[ct_slice.z], norm)
    handles = [
        panel_grid.legend_line(
            name + _where(patient, name, numbers), color=slices[0].colour(name), lw=2
        )
        for name in (site.names if names is None else names)
    ]
    grid.save(path, title, handles)


def _where(patient: records.Patient, name: str, numbers: Sequence[int]) -> str:
    """What the legend adds to a structure without an outline in slices `numbers`."""
    mask = patient.structures.get(name)
    if mask is None or not mask.any():
        return " (none)"
    return "" if mask[list(numbers)].any() else " (other slices)"
