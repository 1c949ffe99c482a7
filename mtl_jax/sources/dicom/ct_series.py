"""A CT series to Hounsfield units on a canonical grid.

Input: headers of CT files, by series. Output: one Series, float32 [z, y, x] from the
feet to the head, rows to posterior and columns to the left in every patient position.
Only regular stacks of axial slices are accepted: nothing is guessed or resampled.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from mtl_jax.core import body_region, errors, geometry, note_kinds
from mtl_jax.sources.dicom import headers, orientation, pixels

AIR_HU = -1024.0
SAME_MM = 0.01  # two slices this near are at one position
SIDEWAYS_MM = 0.05  # slices are stacked straight within this
UNEVEN = 0.01  # part of the spacing by which gaps may differ
# Air is near -1000 HU; with more than this at the first percentile there is none.
WITHOUT_AIR_HU = -850.0
# Between fat and muscle, with bone and a couch: the median of what is no air or lung.
SOFT_HU = (-200.0, 200.0)
# A slice that differs by more from the mean of its neighbours, and three times more
# than these differ from each other, is scaled otherwise: anatomy, noise and streaks
# move the median of the body by tens of HU, a lost intercept by 1000 and more.
JUMP_HU = 200.0
JUMP_OVER_STEP = 3.0
JUMP_PIXELS = 128  # slices are thinned to about so many rows and columns for this

Files = tuple[headers.File, ...]


@dataclasses.dataclass(frozen=True)
class Series:
    """A CT on its grid."""

    grid: geometry.Grid
    hu: np.ndarray  # [Z, Y, X] float32
    files: Files  # the file of each slice, from the feet
    frame_uid: str  # FrameOfReferenceUID, '' without one
    notes: tuple[note_kinds.Note, ...]


def choose(
    folder: headers.Folder,
    *,
    series: Iterable[str] = (),
    images: Iterable[str] = (),
    frames: Iterable[str] = (),
) -> tuple[Files, tuple[str, ...]]:
    """The axial slices of the series that a structure set was drawn on, and notes.

    `series`, `images` and `frames` are the UIDs that the structure set refers to. The
    first of these that any CT here has decides; without one, the only CT is taken.

    Raises:
        SourceError: there is no CT, or more than one that could be meant.
    """
    series_uids, image_uids, frame_uids = set(series), set(images), set(frames) - {""}
    axial, scouts = _without_scouts(folder.ct)
    if not axial:
        raise _no_axial(folder, [file for files in scouts.values() for file in files])
    present = series_uids & set(folder.ct)
    if present and not present & set(axial):
        raise errors.SourceError(
            f"the structure set was drawn on {scouts[min(present)][0].name}, which is "
            "not an axial image (perhaps a scout); export the one drawn on the axial CT"
        )

    def has(files: Files, keyword: str, uids: set[str]) -> bool:
        return any(file.text(keyword) in uids for file in files)

    tests = (
        [uid for uid in axial if uid in series_uids],
        [uid for uid, f in axial.items() if has(f, "SOPInstanceUID", image_uids)],
        [uid for uid, f in axial.items() if has(f, "FrameOfReferenceUID", frame_uids)],
        list(axial),
    )
    matches = next(uids for uids in tests if uids)
    if len(matches) > 1:
        listed = "; ".join(
            f"{len(axial[uid])} images such as {axial[uid][0].name}" for uid in matches
        )
        raise errors.SourceError(
            f"{len(matches)} CT series could be meant: {listed}; leave the planning "
            "CT, move the others away"
        )
    notes = [f"{f.name} is left out: a scout" for fs in scouts.values() for f in fs]
    if series_uids and matches[0] not in series_uids:
        notes.append(
            "the structure set refers to a series that is not here; took the CT that "
            f"{axial[matches[0]][0].name} belongs to"
        )
    notes += [
        f"left out {len(files)} images of another CT series, such as {files[0].name}"
        for uid, files in axial.items()
        if uid != matches[0]
    ]
    return axial[matches[0]], tuple(notes)


def _without_scouts(
    series: Mapping[str, Files],
) -> tuple[dict[str, Files], dict[str, Files]]:
    """Axial slices and scouts of each series, where it has any."""
    axial, scouts = {}, {}
    for uid, files in series.items():
        scout_files = [file for file in files if _is_scout(file)]
        axial_files = tuple(file for file in files if file not in scout_files)
        if scout_files:
            scouts[uid] = tuple(scout_files)
        if axial_files:
            axial[uid] = axial_files
    return axial, scouts


def _is_scout(file: headers.File) -> bool:
    if "LOCALIZER" in file.text("ImageType").upper().split("\\"):
        return True
    if not file.text("ImageOrientationPatient"):
        return False  # refused later, if it is needed
    return not orientation.plane(file).is_axial


def _no_axial(folder: headers.Folder, others: list[headers.File]) -> errors.SourceError:
    """The error for a folder whose CT images, if any, are all `others`."""
    found = "; ".join(folder.notes) or "no other file"
    if others:
        planes = sorted({_plane_name(file) for file in others})
        found = (
            f"{len(others)} CT images such as {others[0].name}, which are "
            f"{' and '.join(planes)}; {found}"
        )
    return errors.SourceError(
        "no axial CT images here: check that this is the patient's folder, and export "
        f"the axial series. Found: {found}"
    )


def _plane_name(file: headers.File) -> str:
    """What an image that is left out shows, in words."""
    if "LOCALIZER" in file.text("ImageType").upper().split("\\"):
        return "scouts"
    axis = int(np.argmax(np.abs(orientation.plane(file).normal)))
    return ("sagittal", "coronal", "axial")[axis]


def read(files: Files, accept: Collection[str] = ()) -> Series:
    """The volume that `files`, all of one series, make up.

    `accept`: names of reasons to refuse it (core/note_kinds) that do not.

    Raises:
        SourceError: they are no regular stack of axial slices in Hounsfield units.
    """
    for file in files:
        _check_kind(file)
    planes = {file.name: orientation.plane(file) for file in files}
    first = planes[files[0].name]
    orientation.check_straight(first, files[0])
    for file in files:
        if not planes[file.name].same_raster(first):
            raise file.error(
                f"and {files[0].name} are of one series, but differ in matrix, pixel "
                "spacing or orientation; leave the images of one scan"
            )
    ordered = sorted(files, key=lambda f: (planes[f.name].position_mm[2], f.name))
    slices, hu, padded, copies = _without_copies(ordered, planes)
    _check_uids(slices)
    positions = np.array([planes[file.name].position_mm for file in slices])
    step_mm = _check_stack(slices, positions)
    frames = {file.text("FrameOfReferenceUID") for file in slices}
    if len(frames) > 1:
        raise errors.SourceError(
            f"the CT series of {slices[0].name} has {len(frames)} frames of reference; "
            "leave the images of one scan"
        )
    remarks = [
        *note_kinds.of("files", copies),
        *value_notes(hu, padded),
        *_unspecified_notes(hu, padded, slices),
        *jump_notes(hu, [file.name for file in slices], accept),
    ]
    hu, grid = orientation.canonical(hu, planes[slices[0].name], step_mm)
    return Series(grid, hu, tuple(slices), frames.pop(), tuple(remarks))


def _check_kind(file: headers.File) -> None:
    if file.text("SOPClassUID") not in ("", headers.CT):
        raise file.error(
            "is an enhanced (multi-frame) CT, which is not supported; export the "
            "series as single CT images"
        )
    if file.numbers("NumberOfFrames") not in ((), (1.0,)):
        raise file.error("has several frames; export the series as single CT images")
    if file.text("RescaleType").upper() not in ("", "HU", _unspecified(file)):
        raise file.error(
            f"has RescaleType {file.quoted('RescaleType')}, not Hounsfield units (HU); "
            "export the CT itself, not an image made from it"
        )


def _unspecified(file: headers.File) -> str:
    """The RescaleType that says nothing of the values; only a CT image may have it."""
    return "US" if file.text("SOPClassUID") == headers.CT else ""


def _without_copies(
    ordered: list[headers.File], planes: Mapping[str, orientation.Plane]
) -> tuple[list[headers.File], np.ndarray, np.ndarray, list[str]]:
    """Files, HU and padding [slices, rows, columns] of each position; notes on copies.

    HU are float32.
    """
    shape = planes[ordered[0].name].shape
    hu, padded = np.empty((0, 0, 0), np.float32), np.empty((0, 0, 0), bool)
    slices: list[headers.File] = []
    notes = []
    for file in ordered:
        image = _image(file, shape)
        if not slices:  # now that there is an image of that size, and not only a header
            hu = np.empty((len(ordered), *shape), np.float32)
            padded = np.empty(hu.shape, bool)
        last = len(slices) - 1
        hu[last + 1], padded[last + 1] = image
        if slices:
            step = planes[file.name].position_mm - planes[slices[-1].name].position_mm
            if np.linalg.norm(step) <= SAME_MM:
                if not np.array_equal(hu[last + 1], hu[last]):
                    raise file.error(
                        f"and {slices[-1].name} are different images of one series at "
                        "one position; leave the images of one scan"
                    )
                notes.append(f"{file.name} is left out: a copy of {slices[-1].name}")
                continue
        slices.append(file)
    return slices, hu[: len(slices)], padded[: len(slices)], notes


def _check_uids(slices: list[headers.File]) -> None:
    """SourceError if slices at two positions are one image by their UID."""
    by_uid: dict[str, headers.File] = {}
    for file in slices:
        uid = file.text("SOPInstanceUID")
        first = by_uid.setdefault(uid, file)
        if uid and first is not file:
            raise file.error(
                f"and {first.name} have the same SOPInstanceUID at two positions; "
                "leave the images of one scan, or export it again"
            )


def _image(file: headers.File, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units [rows, columns], and where nothing was measured."""
    stored, dataset = pixels.read(file)
    if stored.shape != shape:
        raise file.error(f"has pixels of shape {stored.shape}, expected one image")
    padded = pixels.padding(stored, dataset, file)
    hu = pixels.rescaled(pixels.significant(stored, dataset, file), dataset, file)
    # Nothing has less than air; scanners fill the corners with -2000, -3024 and so on,
    # whether they say that it is padding or not.
    padded = padded | (hu < AIR_HU)
    return np.where(padded, AIR_HU, hu), padded


def _check_stack(slices: list[headers.File], positions: np.ndarray) -> float:
    """The spacing in mm of slices at `positions` [slices, 3], from the feet."""
    if len(slices) < 2:
        raise slices[0].error(
            "is the only slice of its series, so the spacing is unknown; export the "
            "whole series"
        )
    sideways = np.abs(positions[:, :2] - positions[0, :2]).max(axis=1)
    if sideways.max() > SIDEWAYS_MM:
        worst = int(np.argmax(sideways))
        slope = sideways[worst] / (positions[worst, 2] - positions[0, 2] or np.inf)
        raise slices[worst].error(
            f"lies {sideways[worst]:.2f} mm beside the slice of {slices[0].name} "
            f"(gantry tilt of {np.degrees(np.arctan(slope)):.1f} degrees, or "
            "slices of several scans); export the series without tilt"
        )
    gaps = np.diff(positions[:, 2])
    median_gap = float(np.median(gaps))
    uneven = np.abs(gaps - median_gap)
    if uneven.max() > max(UNEVEN * median_gap, SAME_MM):
        worst = int(np.argmax(uneven))
        raise errors.SourceError(
            f"between {slices[worst].name} and {slices[worst + 1].name} the CT has a "
            f"step of {gaps[worst]:.2f} mm, elsewhere {median_gap:.2f} mm: slices are "
            "missing, or of several scans; export the whole series with even spacing"
        )
    step = float((positions[-1, 2] - positions[0, 2]) / (len(slices) - 1))
    # Gaps that are each a little too wide add up.
    drift = np.abs(positions[:, 2] - positions[0, 2] - step * np.arange(len(slices)))
    if drift.max() > max(UNEVEN * median_gap, SAME_MM):
        worst = int(np.argmax(drift))
        raise slices[worst].error(
            f"lies {drift[worst]:.2f} mm from its position among slices {step:.3f} mm "
            "apart: the spacing of the CT changes; export it with even spacing"
        )
    return step


def value_notes(hu: np.ndarray, padded: np.ndarray) -> Iterator[note_kinds.Note]:
    """Notes on padding, and on values that may be no Hounsfield units."""
    if share := padded.mean():
        yield note_kinds.Note(
            "changed_values",
            f"{share:.1%} of the CT is padding, or less than air: set to {AIR_HU:g} HU",
        )
    measured = hu[~padded]
    low = 0.0
    if measured.size:
        low = float(np.percentile(measured, 1, overwrite_input=True))
    if low > WITHOUT_AIR_HU:
        yield note_kinds.Note(
            "ct_values",
            f"the lowest 1 % of the CT reaches {low:.0f} HU, though air is near -1000: "
            "check that these are Hounsfield units",
        )


def _unspecified_notes(
    hu: np.ndarray, padded: np.ndarray, slices: list[headers.File]
) -> Iterator[note_kinds.Note]:
    """A note if the values are said to be unspecified, but air and water are in place.

    Raises:
        SourceError: they are not.
    """
    files = [file for file in slices if file.text("RescaleType").upper() == "US"]
    if not files:
        return
    low, median = air_and_tissue(hu, padded)
    if unlike := unlike_hu(low, median):
        raise files[0].error(
            "has RescaleType 'US' (unspecified), and the values of its series do not "
            f"look like Hounsfield units ({unlike}); write it with RescaleType HU"
        )
    yield note_kinds.Note(
        "ct_values",
        f"{files[0].name} and others have RescaleType 'US' (unspecified); taken for "
        f"Hounsfield units, as air ({low:.0f}) and soft tissue ({median:.0f}) are "
        "where they should be",
    )


def air_and_tissue(hu: np.ndarray, padded: np.ndarray) -> tuple[float, float]:
    """The lowest 1 % of a CT and the median of the body in it, in HU.

    0 and infinite where there is none.
    """
    measured = hu[~padded]
    dense = measured[measured > body_region.DATA_HU]
    low = float(np.percentile(measured, 1)) if measured.size else 0.0
    return low, float(np.median(dense)) if dense.size else np.inf


def unlike_hu(low: float, median: float) -> str:
    """Why values that state no unit are no Hounsfield units; '' if they may be.

    `low` and `median` are those of `air_and_tissue`.
    """
    if low <= WITHOUT_AIR_HU and SOFT_HU[0] <= median <= SOFT_HU[1]:
        return ""
    return (
        f"lowest 1 %: {low:.0f}, air is near -1000; median of the body: {median:.0f}, "
        "soft tissue is near 0"
    )


def jump_notes(
    hu: np.ndarray, names: Sequence[str], accept: Collection[str]
) -> Iterator[note_kinds.Note]:
    """Notes on slices of `hu` [slices, rows, columns] that are unlike both neighbours.

    `names` are those of the slices in messages.

    Raises:
        SourceError: there is one, and that is not accepted.
    """
    step = max(1, max(hu.shape[1:]) // JUMP_PIXELS)
    thin = hu[:, ::step, ::step]
    for z in range(1, len(thin) - 1):
        below, at, above = thin[z - 1 : z + 2]
        body = np.minimum(below, above) > body_region.DATA_HU
        if body.mean() < body_region.LEAST_OF_SLICE:  # air: an offset shows there too
            body[:] = True
        jump = float(np.median((at - (below + above) / 2)[body]))
        between = float(np.median(np.abs(above - below)[body]))
        if abs(jump) > max(JUMP_HU, JUMP_OVER_STEP * between):
            side = "above" if jump > 0 else "below"
            yield note_kinds.refuse(
                "ct_jump",
                f"{names[z]} lies {abs(jump):.0f} HU {side} the slices on both "
                f"sides, {names[z - 1]} and {names[z + 1]}, which are "
                "alike: its rescale is wrong, or it is of another scan; export the "
                "series again",
                accept,
            )
