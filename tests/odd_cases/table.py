"""All cases, by group."""

from tests.odd_cases import (
    contours,
    ct_geometry,
    ct_pixels,
    dose_files,
    doses,
    expect,
    folders,
)
from tests.odd_cases import structure_sets as sets

GROUPS: dict[str, dict[str, expect.Case]] = {
    "CT: orientation": ct_geometry.ORIENTATION,
    "CT: order and distance of slices": ct_geometry.ORDER,
    "CT: which images": ct_geometry.CHOICE,
    "CT: rescale": ct_pixels.RESCALE,
    "CT: values and bits": ct_pixels.VALUES,
    "Encodings": ct_pixels.ENCODING,
    "Contours: types and holes": contours.TYPES,
    "Contours: coordinates": contours.COORDINATES,
    "Structure sets: links": sets.LINKS,
    "Structure sets: names": sets.NAMES,
    "Dose: grid": doses.GRID,
    "Dose: values": doses.VALUES,
    "Dose: which file": dose_files.CHOICE,
    "Folder: files": folders.FILES,
    "Folder: whose files": folders.IDENTITY,
    "Folder: texts and private elements": folders.TEXTS,
}
CASES: dict[tuple[str, str], expect.Case] = {
    (group, name): case
    for group, cases in GROUPS.items()
    for name, case in cases.items()
}
