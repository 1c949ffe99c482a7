"""A patient as it was read: contours and dose over the CT, on a few slices."""

from collections.abc import Sequence
from pathlib import Path

from mtl_jax.core import records, sites
from mtl_jax.figures import colours, sheet, slice_choice, slice_panels

ROWS = 3
PANEL = 3.4


def draw(
    path: Path,
    patient: records.Patient,
    *,
    site: sites.Site,
    title: str,
    names: Sequence[str] | None = None,
) -> None:
    """Draw CT with contours and, where there is one, CT with dose, into a PNG.

    `names` are the structures that the legend has; None: all of the site.
    """
    chosen = slice_choice.choose_slices(patient, site.contoured, ROWS)
    shown = slice_panels.cut(patient, site, chosen)
    columns = 2 if patient.dose_gy is not None else 1
    page = sheet.Sheet(len(shown), columns, shown[0].proportion, panel=PANEL)
    for row, one in enumerate(shown):
        axis = page.panel(row, 0, "" if row else "CT and contours")
        slice_panels.ct(axis, one)
        slice_panels.contours(axis, one, patient.structures)
        slice_panels.orient(axis, one, f"slice {one.z}")
    if patient.dose_gy is not None:
        norm = slice_panels.dose_norm([patient.dose_gy[chosen]])
        page.bar(1, 1, norm, colours.DOSE_MAP, "dose (Gy)")
        for row, one in enumerate(shown):
            axis = page.panel(row, 1, "" if row else "Dose and targets")
            slice_panels.dose(axis, one, patient.dose_gy[one.z], norm)
    handles = [
        sheet.line(
            name if name in patient.structures else f"{name} (none)",
            color=shown[0].colour(name),
            lw=2,
        )
        for name in (site.names if names is None else names)
    ]
    page.save(path, title, handles)
