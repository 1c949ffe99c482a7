"""Changes of the plain patient that several cases use."""

import copy
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import pydicom

from tests.odd_cases import shapes, writer

Change = Callable[[writer.Made], None]


def both(*changes: Change) -> Change:
    def change(made: writer.Made) -> None:
        for each in changes:
            each(made)

    return change


def put(pattern: str, **elements: object) -> Change:
    """Set elements of the files that match `pattern`; None takes an element away."""

    def change(made: writer.Made) -> None:
        found = made.named(pattern)
        assert found, pattern
        for dataset in found:
            for keyword, value in elements.items():
                if value is None:
                    del dataset[keyword]
                else:
                    setattr(dataset, keyword, value)

    return change


def each(pattern: str, alter: Callable[[pydicom.Dataset], object]) -> Change:
    """Alter the data set of each file that matches `pattern`."""

    def change(made: writer.Made) -> None:
        found = made.named(pattern)
        assert found, pattern
        for dataset in found:
            alter(dataset)

    return change


def remove(*patterns: str) -> Change:
    def change(made: writer.Made) -> None:
        for pattern in patterns:
            gone = [n for n in made.files if pathlib.PurePath(n).match(pattern)]
            assert gone, pattern
            for name in gone:
                del made.files[name]

    return change


def copied(name: str, other: str, **elements: object) -> Change:
    """The file `name` once more as `other`, with other elements."""

    def change(made: writer.Made) -> None:
        made.files[other] = copy.deepcopy(made.files[name])
        put(other, **elements)(made)

    return change


def rename(new: Callable[[str], str]) -> Change:
    def change(made: writer.Made) -> None:
        made.files = {new(name): dataset for name, dataset in made.files.items()}

    return change


def extra(name: str, content: bytes) -> Change:
    def change(made: writer.Made) -> None:
        made.extra[name] = content

    return change


def encoded(pattern: str, syntax: str) -> Change:
    def change(made: writer.Made) -> None:
        for name in made.files:
            if pathlib.PurePath(name).match(pattern):
                made.encodings[name] = syntax

    return change


def bare(pattern: str) -> Change:
    """Without preamble and file meta information."""

    def change(made: writer.Made) -> None:
        made.bare |= {n for n in made.files if pathlib.PurePath(n).match(pattern)}

    return change


def cut(name: str, part: float) -> Change:
    """Cut the file off after a `part` of it."""

    def damage(folder: pathlib.Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(part * len(content))])

    return lambda made: made.damage.append(damage)


def replaced(name: str, old: bytes, new: bytes) -> Change:
    """Other bytes of the same length in the file on the disk."""

    def damage(folder: pathlib.Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content and len(old) == len(new)
        (folder / name).write_bytes(content.replace(old, new))

    return lambda made: made.damage.append(damage)


def files(**made_files: pydicom.Dataset) -> Change:
    """Files by name, `.dcm` left out."""

    def change(made: writer.Made) -> None:
        made.files |= {f"{name}.dcm": dataset for name, dataset in made_files.items()}

    return change


def rois(**changed: Sequence[pydicom.Dataset] | None) -> Change:
    """Other contours of ROIs, in place of the plain ones; None: no such ROI."""

    def change(made: writer.Made) -> None:
        all_rois: dict[str, Sequence[pydicom.Dataset] | None]
        all_rois = {**writer.plain_rois(), **changed}
        kept = {name: c for name, c in all_rois.items() if c is not None}
        writer.set_rois(made.files["rs.dcm"], kept)

    return change


def mask(name: str, voxels: np.ndarray | None) -> Change:
    """The truth of one ROI; None: it is in no mask."""

    def change(made: writer.Made) -> None:
        if voxels is None:
            del made.truth.masks[name]
        else:
            made.truth.masks[name] = voxels

    return change


def shaped(
    name: str, *drawn: tuple[shapes.Shape, range], kind: str = "CLOSED_PLANAR"
) -> Change:
    """An ROI of other shapes, that do not overlap, and its truth."""
    contours = writer.drawn(*drawn, kind=kind)
    return both(rois(**{name: contours}), mask(name, shapes.mask(*drawn)))


def position(name: str) -> Change:
    """The whole patient as scanned in another position."""

    def change(made: writer.Made) -> None:
        made.files = writer.patient(name).files

    return change


def hu(alter: Callable[[int, pydicom.Dataset, np.ndarray], None]) -> Change:
    """Store each slice's HU otherwise: `alter(number, data set, HU of the slice)`."""

    def change(made: writer.Made) -> None:
        for z, values in enumerate(made.truth.ct):
            alter(z, made.files[f"ct/{z}.dcm"], values)

    return change


def truth_ct(alter: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(made: writer.Made) -> None:
        made.truth.ct = alter(made.truth.ct.copy())

    return change


def no_dose(made: writer.Made) -> None:
    """The truth of a patient without dose."""
    made.truth.dose = made.truth.known = None


def dose_of(raster: shapes.Raster, **settings) -> Change:
    """A dose on another raster, and where it is known."""

    def change(made: writer.Made) -> None:
        made.files["rd.dcm"] = writer.dose(raster=raster, **settings)
        made.truth.known = writer.known(raster)

    return change
