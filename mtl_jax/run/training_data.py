"""What a network was trained on, in figures that every checkpoint carries.

Goes in: a training split. Comes out: plain values (patients, sizes, spacings, CT
values), which name nobody. `unlike` holds a new CT against them, and says in words what
lies outside: a network answers any image, also one that it knows nothing of.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mtl_jax.core import body_region, errors, geometry
from mtl_jax.datasets import prepared

# CT values are read from so many slices, spread over as many patients as that allows.
SLICES = 512
MOST_PATIENTS = 256
MOST_OF_A_PATIENT = 32
# Voxels of a new CT that are looked at.
VOXELS = 2_000_000

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
# By percentile: the lowest, median and highest of its values over the patients.
Levels = Mapping[str, Sequence[float]]

# Tolerances. Ranges are over patients, so that those of training are inside, and what
# is added here is for others that are like them.
# Size of a pixel, field of view, length: a quarter beyond. Bodies differ by 10 to 20 %,
# and augmentation (augment.scale) shows a network about as much; a CT for another site
# differs by a half and more (250 mm for a head, 500 mm for a pelvis).
SIZE = 1.25
# Distance of slices: a half beyond. Networks see one slice, so that it only changes how
# much is blurred into it; 2 and 3 mm look alike, 1 and 5 mm do not.
SLICE_SPACING = 1.5
# HU, the mean distance of BODY_LEVELS from their ranges. Energies, reconstructions and
# contrast move soft tissue by tens; a wrong offset or scale moves it by hundreds.
BODY_HU = 100.0
BODY_LEVELS = ("5", "25", "50", "75", "95")
# HU: air is near -1000, noise and partial volumes included it stays below this.
AIR_HU = -850.0
# HU: no CT with air and a body spans less; 0 to 1, z-scores and percents do.
LEAST_SPAN_HU = 100.0
GREY_LEVELS = 255  # of pictures of 8 bits
# What a stored value lies above HU for most scanners.
OFFSET_HU = 1024.0


def describe(split: prepared.Split, leave_out: Collection[int] = ()) -> dict[str, Any]:
    """Plain values of JSON about `split`; ranges are [lowest, highest] over patients.

    Sizes come from its index, CT values from at most 512 slices (the same ones every
    time). `leave_out`: positions of patients that the network is not trained on.

    Raises:
        DatasetError: there is no patient, or a slice is damaged.
    """
    entries = [e for at, e in enumerate(split.patients) if at not in leave_out]
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
        "ct_hu": _values(split, entries),
    }


def _range(values: np.ndarray) -> list[float]:
    low, high = values.min().item(), values.max().item()
    return [round(low, 4), round(high, 4)]


def _values(
    split: prepared.Split, entries: Sequence[prepared.PatientEntry]
) -> dict[str, Any]:
    """Percentiles in HU: the lowest, median and highest over the patients read."""
    found: dict[str, list[np.ndarray]] = {"grid": [], "body": []}
    slices = 0
    for several in _chosen(entries):
        planes = [split.source[index]["ct"] for index in several]
        slices += len(planes)
        hu = np.concatenate([plane.ravel() for plane in planes]).astype(np.float32)
        hu -= np.float32(split.site.ct_offset_hu)
        found["grid"].append(np.percentile(hu, PERCENTILES))
        if (body := _body(hu)).size:
            found["body"].append(np.percentile(body, PERCENTILES))
    about: dict[str, Any] = {"slices": slices, "patients": len(found["grid"])}
    for part, rows in found.items():
        over = np.percentile(rows, (0, 50, 100), axis=0).T if rows else ()
        about[part] = {
            str(level): [round(value, 1) for value in np.asarray(three).tolist()]
            for level, three in zip(PERCENTILES, over, strict=False)
        }
    return about


def _chosen(entries: Sequence[prepared.PatientEntry]) -> Iterator[list[int]]:
    """Positions of slices to read, patient by patient; of those that show a body."""
    rng = np.random.default_rng(0)
    patients = range(len(entries))
    if len(entries) > MOST_PATIENTS:
        patients = np.sort(rng.choice(len(entries), MOST_PATIENTS, replace=False))
    each = min(SLICES // len(patients), MOST_OF_A_PATIENT)
    for at in patients:
        entry = entries[at]
        shown = np.flatnonzero(entry.body)
        if not len(shown):
            shown = np.arange(entry.slices)
        parts = np.array_split(shown, min(each, len(shown)))
        yield [entry.start + int(rng.choice(part)) for part in parts]


def unlike(
    description: Mapping[str, Any],
    ct_hu: np.ndarray,
    grid: geometry.Grid,
    body_part: str,
) -> list[str]:
    """What of a CT lies outside what `description` says of training, in words.

    Args:
        description: what `describe` made.
        ct_hu: [Z, Y, X] in Hounsfield units.
        grid: where its voxels are.
        body_part: DICOM's BodyPartExamined, or "". Only a known code counts, and the
            text itself is never shown.
    """
    return [
        *_about_sizes(description, grid),
        *_about_values(description["ct_hu"], ct_hu),
        *_about_body_part(description["body_part"], body_part),
    ]


def _about_sizes(description: Mapping[str, Any], grid: geometry.Grid) -> Iterator[str]:
    slice_mm, *pixel_mm = grid.spacing_mm
    length, *view = np.multiply(grid.shape, grid.spacing_mm).tolist()
    trained = description["spacing_mm"]
    if any(_outside(one, trained, SIZE) for one in pixel_mm):
        yield (
            f"pixels are {pixel_mm[0]:.2f} x {pixel_mm[1]:.2f} mm; those of training "
            f"were {_words(trained, '.2f')} mm"
        )
    trained = description["slice_spacing_mm"]
    if _outside(slice_mm, trained, SLICE_SPACING):
        yield (
            f"slices are {slice_mm:.2f} mm apart; those of training were "
            f"{_words(trained, '.2f')} mm"
        )
    views = [description["field_of_view_mm"][axis] for axis in ("y", "x")]
    sides = [_outside(*pair, SIZE) for pair in zip(view, views, strict=True)]
    if any(sides):
        size = "smaller" if -1 in sides else "larger"
        yield (
            f"the field of view is {view[0]:.0f} x {view[1]:.0f} mm (y, x), {size} "
            f"than in training: {' x '.join(_words(one, '.0f') for one in views)} mm"
        )
    trained = description["length_mm"]
    # A shorter one shows less of the same.
    if _outside(length, trained, SIZE) > 0:
        yield (
            f"the CT is {length:.0f} mm long; those of training were "
            f"{_words(trained, '.0f')} mm, so it shows parts that they did not"
        )


def _outside(value: float, trained: Sequence[float], factor: float) -> int:
    """-1 or 1 where `value` is below or above the range `trained`, else 0."""
    return int(value > trained[1] * factor) - int(value < trained[0] / factor)


def _words(trained: Sequence[float], form: str) -> str:
    """A range of figures; one figure where both ends read the same."""
    low, high = format(trained[0], form), format(trained[-1], form)
    return low if low == high else f"{low} to {high}"


def _about_values(trained: Mapping[str, Any], ct_hu: np.ndarray) -> Iterator[str]:
    """At most one sentence: what is wrong first would explain what comes after."""
    step = max(1, math.ceil((ct_hu.size / VOXELS) ** (1 / 3)))
    hu = ct_hu[::step, ::step, ::step].astype(np.float32).ravel()
    tests = (_scaled, _shifted, _airless, _strange)
    found = (test(hu, trained["grid"], trained["body"]) for test in tests)
    yield from itertools.islice(filter(None, found), 1)


def _scaled(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """Values from 0 to 1, from -3 to 3, grey levels, one value everywhere."""
    del body
    low, high = np.percentile(hu, (0.1, 99.9)).tolist()
    grey = low >= -1 and high <= GREY_LEVELS
    if high - low >= LEAST_SPAN_HU and not grey:
        return None
    return (
        f"the CT's values run from {low:.3g} to {high:.3g}, those of training from "
        f"{grid['1'][0]:.0f} to {grid['99'][-1]:.0f} HU: they are scaled, or grey "
        "levels, and no Hounsfield units"
    )


def _shifted(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """Values that are like those of training but for an offset."""
    del grid
    as_is = _distance(_body(hu), body)
    for offset, sign, reason in (
        (OFFSET_HU, "high", "stored values without the rescale intercept"),
        (-OFFSET_HU, "low", "with the rescale intercept counted twice"),
    ):
        moved = _body(hu, offset)
        if as_is > BODY_HU and _distance(moved, body) < min(BODY_HU, as_is / 2):
            return (
                f"the CT's values are about {OFFSET_HU:.0f} too {sign}: the body's "
                f"median is {np.median(moved) + offset:.0f}, in training "
                f"{_words(body['50'], '.0f')} HU ({reason}, it seems)"
            )
    return None


def _airless(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """No air around a body like those of training, which had some around them."""
    lowest = float(np.percentile(hu, 1))
    if lowest <= max(AIR_HU, grid["1"][-1] + BODY_HU):
        return None
    found = _body(_unpainted(hu))
    if _distance(found, body, ("50",)) > BODY_HU:
        return None
    return (
        f"the CT has no air: its lowest 1 % reaches {lowest:.0f} HU, in training "
        f"{_words(grid['1'], '.0f')} HU (it was cropped or painted over, or these are "
        "no Hounsfield units)"
    )


def _strange(hu: np.ndarray, grid: Levels, body: Levels) -> str | None:
    """Values in the body that are unlike those of training."""
    del grid
    found = _body(hu)
    if _distance(found, body) <= BODY_HU:
        return None
    above = f"above {body_region.DATA_HU:.0f} HU"
    usual = f"in training its median was {_words(body['50'], '.0f')} HU"
    if not found.size:
        return f"hardly a voxel of the CT is {above}, where the body is; {usual}"
    low, median, high = np.percentile(found, (5, 50, 95)).tolist()
    return (
        f"the body, which is what is {above}, has a median of {median:.0f} HU (5th to "
        f"95th percentile: {low:.0f} to {high:.0f}); {usual} ({body['5'][0]:.0f} to "
        f"{body['95'][-1]:.0f})"
    )


def _body(hu: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """The values above -500 HU (body, and couch), less `offset`; none of hardly any."""
    dense = hu[hu > body_region.DATA_HU + offset] - np.float32(offset)
    return dense if dense.size >= body_region.LEAST_OF_SLICE * hu.size else dense[:0]


def _unpainted(hu: np.ndarray) -> np.ndarray:
    """Without the value that most voxels share, which a background was set to."""
    values, counts = np.unique(hu, return_counts=True)
    return hu[hu != values[counts.argmax()]]


def _distance(
    found: np.ndarray, body: Levels, levels: Sequence[str] = BODY_LEVELS
) -> float:
    """Mean distance in HU of percentiles of `found` from their ranges in a `body`.

    0 where nothing is known of training, infinite where there is no body.
    """
    if not body:
        return 0.0
    if not found.size:
        return math.inf
    values = np.percentile(found, [int(level) for level in levels])
    low, _, high = np.array([body[level] for level in levels]).T
    return float(np.mean(np.maximum(0, np.maximum(low - values, values - high))))


def _about_body_part(trained: str | None, body_part: str) -> Iterator[str]:
    shown = regions_of(body_part)
    if trained is not None and shown and trained not in shown:
        yield (
            f"the CT is of the {' and '.join(shown)}, its BodyPartExamined says; the "
            f"network was trained on the {trained}"
        )


HEAD, CHEST, ABDOMEN, PELVIS = "head and neck", "chest", "abdomen", "pelvis"
LIMBS = "limbs"

# Of our own sites; of a site file it is not known.
_SITES = {"openkbp": HEAD, "prostate": PELVIS}

# PS3.16 annex L and what scanners write besides, without spaces and signs.
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
_REGIONS = {code: found for found, codes in _CODES.items() for code in codes.split()}


def region_of_site(name: str) -> str | None:
    """The region that a site of ours is in; None of any other site."""
    return _SITES.get(name)


def regions_of(body_part: str) -> tuple[str, ...]:
    """The regions that a BodyPartExamined names; () where it is empty or not known."""
    code = "".join(filter(str.isalnum, body_part.upper()))
    return _REGIONS.get(code, ())
