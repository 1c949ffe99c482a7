"""Shared by the tests of exports: a small CT, an author, masks, and readers."""

import datetime
import pathlib
import subprocess
from collections.abc import Iterator

import numpy as np
import pydicom
from pydicom import dataelem

from mtl_jax.core import geometry, sites
from mtl_jax.export import author, ct_reference
from mtl_jax.sources.dicom import ct_series, headers
from mtl_jax.sources.phantom import dicom_cohort, male_pelvis

# Voxel centres at x 10, 13, ... 25, y -20, -18, ... -12, z 100, 105, 110, 115 mm.
GRID = geometry.Grid((4, 5, 6), (5.0, 2.0, 3.0), (10.0, -20.0, 100.0))
# Spacings with many decimals, so that coordinates have to be rounded.
ODD = geometry.Grid((5, 23, 31), (2.9999, 0.9765625, 1.1718751), (-17.3, 41.77, -203.1))
POSITIONS = ("HFS", "HFP", "FFS", "FFP")
AUTHOR = author.Author("multi (prostate)", "9.8.7", ("c0ffee" * 10,))
CREATED = datetime.datetime(2026, 11, 26, 14, 5, 9)
SITE = sites.PROSTATE


def write_ct(
    folder: pathlib.Path, grid: geometry.Grid = GRID, position: str = "HFS"
) -> tuple[np.ndarray, list[pathlib.Path]]:
    """Write a CT, scanned in `position`, into `folder`.

    Returns the CT [Z, Y, X] in HU, and its files, not in the order of slices.
    """
    hu = np.random.default_rng(5).integers(-1000, 1500, grid.shape).astype(np.float32)
    # The phantom needs contours and a dose, which are deleted below.
    first = np.zeros(grid.shape, bool)
    first[0, 0, 0] = True
    pelvis = male_pelvis.Pelvis(grid, hu, {"Bladder": first}, grid, hu + 1001)
    dicom_cohort.write_patient(folder, pelvis, patient_id="PT", position=position)
    for path in folder.glob("R*.dcm"):
        path.unlink()
    return hu, sorted(folder.glob("CT.*.dcm"))


def read_ct(folder: pathlib.Path) -> ct_series.Series:
    files, _ = ct_series.choose(headers.scan(folder))
    return ct_series.read(files)


def reference(folder: pathlib.Path) -> ct_reference.CtReference:
    """The reference to the CT in `folder`, as `predict` makes it."""
    ct = read_ct(folder)
    return ct_reference.from_headers([file.header for file in ct.files], ct.grid)


def change(path: pathlib.Path, **elements: object) -> None:
    """Set elements of a file, or delete those that are None."""
    changed = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            del changed[keyword]
        else:
            setattr(changed, keyword, value)
    changed.save_as(path)


def some_masks(grid: geometry.Grid) -> dict[str, np.ndarray]:
    """Masks with holes, islands, single voxels and touching corners, at all borders."""
    rng = np.random.default_rng(11)
    z, y, x = grid.shape
    masks = {
        "Prostate": rng.random(grid.shape) > 0.6,  # all of it: noise
        "Rectum": np.ones(grid.shape, bool),  # the whole image
        "Bladder": np.zeros(grid.shape, bool),  # nothing
        "Femur_L": np.zeros(grid.shape, bool),
        "Femur_R": np.zeros(grid.shape, bool),
    }
    # An island in a hole, on two slices that are not neighbours.
    ring = masks["Femur_L"]
    ring[[0, z - 1], 0:5, 0:5] = True
    ring[[0, z - 1], 1:4, 1:4] = False
    ring[[0, z - 1], 2, 2] = True
    # Single voxels in opposite corners, and a chessboard of touching corners.
    pair = masks["Femur_R"]
    pair[0, 0, 0] = pair[z - 1, y - 1, x - 1] = True
    pair[1] = np.indices((y, x)).sum(axis=0) % 2 == 0
    return masks


def decimals(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Keyword and text of each DS value in a file, as stored."""

    def visit(dataset: pydicom.Dataset) -> Iterator[tuple[str, str]]:
        for key in list(dataset.keys()):
            raw = dataset.get_item(key, keep_deferred=True)
            keyword = pydicom.datadict.keyword_for_tag(key)
            if pydicom.datadict.dictionary_VR(key) == "DS":
                assert isinstance(raw, dataelem.RawDataElement)
                for value in (raw.value or b"").decode("ascii").split("\\"):
                    yield keyword, value
            elif pydicom.datadict.dictionary_VR(key) == "SQ":
                for item in dataset[key].value:
                    yield from visit(item)

    yield from visit(pydicom.dcmread(path))


def errors_of_dciodvfy(path: pathlib.Path) -> tuple[str, list[str]]:
    """The object type that dciodvfy recognised, and its errors, without warnings."""
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 0 or "Error" in "\n".join(lines), lines
    kinds = [line for line in lines if " " not in line]
    return kinds[0], [line for line in lines if line.startswith("Error")]
