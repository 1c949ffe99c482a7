"""What a network was trained on, in values that every checkpoint carries.

Input: a training split. Output: plain values (patients, sizes, spacings, CT values)
that identify nobody. `differences` compares a new CT with them and says in sentences
what lies outside: a network answers any image, even one unlike its training data.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.core import body_region, errors, geometry
from mtl_jax.datasets import prepared

# CT values are read from at most this many slices, spread over many patients.
SLICES = 512
MOST_PATIENTS = 256
MOST_OF_A_PATIENT = 32
# A new CT is thinned to about this many voxels.
VOXELS = 2_000_000

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# By percentile: the lowest, median and highest of its values over the patients.
Levels = Mapping[str, Sequence[float]]

# Tolerances. Ranges are over the training patients; tolerances allow for others like
# them.
# Size of a pixel, field of view, length: a quarter beyond. Bodies differ by 10 to 20 %,
# and augmentation (augment.scale) varies about as much; a CT of another site differs by
# half or more (250 mm for a head, 500 mm for a pelvis).
SIZE = 1.25
# Distance of slices: a half beyond. Networks see one slice, so it only changes how much
# is blurred into it; 2 and 3 mm look alike, 1 and 5 mm do not.
SLICE_SPACING = 1.5
# HU, the mean distance of BODY_LEVELS from their ranges. Energies, reconstructions and
# contrast move soft tissue by tens; a wrong offset or scale moves it by hundreds.
BODY_HU = 100.0
BODY_LEVELS = ("5", "25", "50", "75", "95")
# HU: air is near -1000; with noise and partial volumes it stays below this.
AIR_HU = -850.0
# HU: a CT with air and a body spans more; z-scores, percents and values from 0 to 1
# span less.
LEAST_SPAN_HU = 100.0
GREY_LEVELS = 255  # the highest of 8 bits
# Stored value minus HU on most scanners (the rescale intercept).
OFFSET_HU = 1024.0

HEAD, CHEST, ABDOMEN, PELVIS = "head and neck", "chest", "abdomen", "pelvis"
LIMBS = "limbs"

# Only for the built-in sites; unknown for a site file.
_SITES = {"openkbp": HEAD, "prostate": PELVIS}

# PS3.16 annex L and what scanners also write, without spaces and punctuation.
_CODES = {
    (HEAD,): """
        HEAD NECK HEADNECK HEADANDNECK BRAIN SKULL FACE JAW MANDIBLE MAXILLA ORBIT EYE
        EAR SINUS TONGUE PHARYNX LARYNX THYROID PAROTID CSPINE CERVICALSPINE""",
    (CHEST,): "CHEST THORAX LUNG BREAST HEART MEDIASTINUM TSPINE THORACICSPINE",
    (ABDOMEN,): "ABDOMEN LIVER KIDNEY PANCREAS STOMACH SPLEEN LSPINE LUMBARSPINE",
    (PELVIS,): "PELVIS PROSTATE BLADDER RECTUM UTERUS CERVIX HIP SSPINE SACRUM",
    (LIMBS,): "EXTREMITY ARM HAND ELBOW WRIST LEG KNEE FOOT ANKLE CALF",
    (HEAD, CHEST): "NECKCHEST HEADNECKCHEST CTSPINE",
    (CHEST, ABDOMEN): "CHESTABDOMEN CHESTABD TLSPINE",
    (ABDOMEN, PELVIS): "ABDOMENPELVIS ABDPELVIS LSSPINE",
    (CHEST, ABDOMEN, PELVIS): "CHESTABDPELV CHESTABDPELVIS CHESTABDOMENPELVIS TRUNK",
    (HEAD, CHEST, ABDOMEN): "NECKCHESTABDOMEN",
    (HEAD, CHEST, ABDOMEN, PELVIS): "WHOLEBODY NECKCHESTABDPELV SPINE",
}
_REGIONS = {c: regions for regions, codes in _CODES.items() for c in codes.split()}


def describe(split: prepared.Split, leave_out: Collection[int] = ()) -> dict[str, Any]:
    """JSON values that describe `split`; ranges are [lowest, highest] over patients.

    Sizes in mm come from its index, CT values in HU from at most 512 slices (the same
    ones every time). `leave_out`: positions of patients that are not trained on.

    Raises:
        DatasetError: there is no patient, or a slice is damaged.
    """
    entries = [e for i, e in enumerate(split.patients) if i not in leave_out]
    if not entries:
        raise errors.DatasetError(f"split {split.name} has no patient to train on")
    spacings = np.array([entry.grid.spacing_mm for entry in entries])
    shapes = np.array([entry.grid.shape for entry in entries])
    extents = spacings * shapes
    sizes = Counter(f"{y} x {x}" for _, y, x in shapes.tolist())
    return {
        "site": split.site.name,
        "body_part": region_of_site(split.site.name),
        "patients": len(entries),
        "slices": int(shapes[:, 0].sum()),
        "slices_a_patient": _range(shapes[:, 0]),
        "with_dose": sum(entry.has_dose for entry in entries),
        "structures": {
            name: sum(name in entry.structures for entry in entries)
            for name in split.site.names
        },
        "spacing_mm": _range(spacings[:, 1:]),
        "slice_spacing_mm": _range(spacings[:, 0]),
        "field_of_view_mm": {"y": _range(extents[:, 1]), "x": _range(extents[:, 2])},
        "length_mm": _range(extents[:, 0]),
        "matrix_sizes": dict(sizes.most_common(10)),
        "ct_hu": _ct_percentiles(split, entries),
    }


def _range(values: np.ndarray) -> list[float]:
    low, high = values.min().item(), values.max().item()
    return [round(low, 4), round(high, 4)]


def _ct_percentiles(
    split: prepared.Split, entries: Sequence[prepared.PatientEntry]
) -> dict[str, Any]:
    """Percentiles in HU: the lowest, median and highest over the patients read."""
    percentiles: dict[str, list[np.ndarray]] = {"grid": [], "body": []}
    slices = 0
    for indices in _chosen_slices(entries):
        planes = [split.source[index]["ct"] for index in indices]
        slices += len(planes)
        hu = np.concatenate([plane.ravel() for plane in planes]).astype(np.float32)
        hu -= np.float32(split.site.ct_offset_hu)
        percentiles["grid"].append(np.percentile(hu, PERCENTILES))
        if (body := _body(hu)).size:
            percentiles["body"].append(np.percentile(body, PERCENTILES))
    patients = len(percentiles["grid"])
    values: dict[str, Any] = {"slices": slices, "patients": patients}
    for part, rows in percentiles.items():
        over = np.percentile(rows, (0, 50, 100), axis=0).T if rows else ()
        values[part] = {
            str(level): [round(value, 1) for value in np.asarray(three).tolist()]
            for level, three in zip(PERCENTILES, over, strict=False)
        }
    return values


def _chosen_slices(entries: Sequence[prepared.PatientEntry]) -> Iterator[list[int]]:
    """Positions of slices to read, patient by patient, if possible with a body."""
    rng = np.random.default_rng(0)
    patients = range(len(entries))
    if len(entries) > MOST_PATIENTS:
        patients = np.sort(rng.choice(len(entries), MOST_PATIENTS, replace=False))
    each = min(SLICES // len(patients), MOST_OF_A_PATIENT)
    for position in patients:
        entry = entries[position]
        candidates = np.flatnonzero(entry.body)
        if not len(candidates):
            candidates = np.arange(entry.slices)
        parts = np.array_split(candidates, min(each, len(candidates)))
        yield [entry.start + int(rng.choice(part)) for part in parts]


def differences(
    description: Mapping[str, Any],
    ct_hu: np.ndarray,
    grid: geometry.Grid,
    body_part: str,
) -> list[str]:
    """How a CT differs from the training data of `description`, a sentence each.

    Args:
        description: the result of `describe`.
        ct_hu: [Z, Y, X] in Hounsfield units.
        grid: the grid of its voxels.
        body_part: DICOM's BodyPartExamined, or "". Only a known code counts; the text
            itself is never shown.
    """
    return [
        *_size_differences(description, grid),
        *_value_differences(description["ct_hu"], ct_hu),
        *_body_part_difference(description["body_part"], body_part),
    ]


def _size_differences(
    description: Mapping[str, Any], grid: geometry.Grid
) -> Iterator[str]:
    slice_mm, *pixel_mm = grid.spacing_mm
    length, *view = np.multiply(grid.shape, grid.spacing_mm).tolist()
    trained = description["spacing_mm"]
    if any(_outside(side, trained, SIZE) for side in pixel_mm):
        yield (
            f"pixels are {pixel_mm[0]:.2f} x {pixel_mm[1]:.2f} mm; in training they "
            f"were {span(trained, '.2f')} mm"
        )
    trained = description["slice_spacing_mm"]
    if _outside(slice_mm, trained, SLICE_SPACING):
        yield (
            f"slices are {slice_mm:.2f} mm apart; in training they were "
            f"{span(trained, '.2f')} mm"
        )
    views = [description["field_of_view_mm"][axis] for axis in ("y", "x")]
    sides = [_outside(*pair, SIZE) for pair in zip(view, views, strict=True)]
    if any(sides):
        size = "smaller" if -1 in sides else "larger"
        yield (
            f"the field of view is {view[0]:.0f} x {view[1]:.0f} mm (y, x), {size} "
            f"than in training: {' x '.join(span(side, '.0f') for side in views)} mm"
        )
    trained = description["length_mm"]
    # A shorter CT shows less of the same.
    if _outside(length, trained, SIZE) > 0:
        yield (
            f"the CT is {length:.0f} mm long; in training CTs were "
            f"{span(trained, '.0f')} mm long, so it shows parts that those do not"
        )


def usual_pixel_mm(description: Mapping[str, Any], grid: geometry.Grid) -> float | None:
    """The middle of the pixel sizes in training; None if those of `grid` are usual."""
    trained = description["spacing_mm"]
    if not any(_outside(side, trained, SIZE) for side in grid.spacing_mm[1:]):
        return None
    return (trained[0] + trained[1]) / 2


def _outside(value: float, trained: Sequence[float], factor: float) -> int:
    """-1 if `value` is below the range `trained`, 1 if above, else 0."""
    return int(value > trained[1] * factor) - int(value < trained[0] / factor)


def span(trained: Sequence[float], form: str) -> str:
    """A range as text; a single number if both ends read the same."""
    low, high = format(trained[0], form), format(trained[-1], form)
    return low if low == high else f"{low} to {high}"


def _value_differences(trained: Mapping[str, Any], ct_hu: np.ndarray) -> Iterator[str]:
    """At most one sentence: the first cause would explain the later ones."""
    step = max(1, math.ceil((ct_hu.size / VOXELS) ** (1 / 3)))
    hu = ct_hu[::step, ::step, ::step].astype(np.float32).ravel()
    tests = (_scaled, _shifted, _airless, _strange)
    sentences = (test(hu, trained["grid"], trained["body"]) for test in tests)
    yield from itertools.islice(filter(None, sentences), 1)


def _scaled(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """Values from 0 to 1, from -3 to 3, grey levels, one value everywhere."""
    del body
    low, high = np.percentile(hu, (0.1, 99.9)).tolist()
    grey = low >= -1 and high <= GREY_LEVELS
    if high - low >= LEAST_SPAN_HU and not grey:
        return None
    return (
        f"the CT's values run from {low:.3g} to {high:.3g}, in training from "
        f"{grid['1'][0]:.0f} to {grid['99'][-1]:.0f} HU: they are scaled values or "
        "grey levels, not Hounsfield units"
    )


def _shifted(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """Values that would be like those of training without an offset."""
    del grid
    as_is = _distance(_body(hu), body)
    for offset, sign, reason in (
        (OFFSET_HU, "high", "the rescale intercept was not applied"),
        (-OFFSET_HU, "low", "the rescale intercept was applied twice"),
    ):
        moved = _body(hu, offset)
        if as_is > BODY_HU and _distance(moved, body) < min(BODY_HU, as_is / 2):
            return (
                f"the CT's values are about {OFFSET_HU:.0f} too {sign}: the body's "
                f"median is {np.median(moved) + offset:.0f}, in training "
                f"{span(body['50'], '.0f')} HU (probably {reason})"
            )
    return None


def _airless(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """No air around a body like those of training, which had air around them."""
    lowest = float(np.percentile(hu, 1))
    if lowest <= max(AIR_HU, grid["1"][-1] + BODY_HU):
        return None
    inside = _body(_unpainted(hu))
    if _distance(inside, body, ("50",)) > BODY_HU:
        return None
    return (
        f"the CT has no air: its lowest 1 % reaches {lowest:.0f} HU, in training "
        f"{span(grid['1'], '.0f')} HU (it was cropped or painted over, or its "
        "values are not Hounsfield units)"
    )


def _strange(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """Values in the body that differ from those of training."""
    del grid
    inside = _body(hu)
    if _distance(inside, body) <= BODY_HU:
        return None
    above = f"above {body_region.DATA_HU:.0f} HU"
    usual = f"in training its median was {span(body['50'], '.0f')} HU"
    if not inside.size:
        return f"almost no voxel of the CT is {above}, as the body is; {usual}"
    low, median, high = np.percentile(inside, (5, 50, 95)).tolist()
    return (
        f"the body (voxels {above}) has a median of {median:.0f} HU (5th to "
        f"95th percentile: {low:.0f} to {high:.0f}); {usual} ({body['5'][0]:.0f} to "
        f"{body['95'][-1]:.0f})"
    )


def _body(hu: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """The values above -500 HU (body and couch), less `offset`; empty if very few."""
    dense = hu[hu > body_region.DATA_HU + offset] - np.float32(offset)
    return dense if dense.size >= body_region.LEAST_OF_SLICE * hu.size else dense[:0]


def _unpainted(hu: np.ndarray) -> np.ndarray:
    """`hu` without its most frequent value, which the background was set to."""
    values, counts = np.unique(hu, return_counts=True)
    return hu[hu != values[counts.argmax()]]


def _distance(
    hu: np.ndarray, body: Levels, levels: Sequence[str] = BODY_LEVELS
) -> float:
    """Mean distance in HU of the percentiles of `hu` from their ranges in `body`.

    0 if the training values are not known, infinite if `hu` is empty.
    """
    if not body:
        return 0.0
    if not hu.size:
        return math.inf
    values = np.percentile(hu, [int(level) for level in levels])
    low, _, high = np.array([body[level] for level in levels]).T
    return float(np.mean(np.maximum(0, np.maximum(low - values, values - high))))


def _body_part_difference(trained: str | None, body_part: str) -> Iterator[str]:
    regions = regions_of(body_part)
    if trained is not None and regions and trained not in regions:
        yield (
            f"the CT shows the {' and '.join(regions)}, as its BodyPartExamined says; "
            f"the network was trained on the {trained}"
        )


def region_of_site(name: str) -> str | None:
    """The region of a built-in site; None for any other site."""
    return _SITES.get(name)


def regions_of(body_part: str) -> tuple[str, ...]:
    """The regions that a BodyPartExamined names; () if it is empty or not known."""
    code = "".join(filter(str.isalnum, body_part.upper()))
    return _REGIONS.get(code, ())
