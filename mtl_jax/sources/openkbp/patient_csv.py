"""One patient of the OpenKBP challenge: CSV files to a Patient, and back.

Input: the bytes of a patient's CSV files. Output: a Patient in canonical axes. The
writer takes a Patient and writes the same files.

A volume is a CSV with the header `,data` and a line `index,value` for every voxel that
is not zero; in masks the value is left out. `index` counts in C order over 128 rows
(to posterior), 128 columns (to the patient's left) and 128 slices (from head to feet).
`voxel_dimensions.csv` holds the three voxel sizes in mm, one on each line, in the same
order.
"""

import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from mtl_jax.core import errors, geometry, records, sites

SITE = sites.OPENKBP
SHAPE = (128, 128, 128)
VOXELS = int(np.prod(SHAPE))
HEADER = b",data\n"
CT, DOSE, MASK, SPACING = "ct", "dose", "possible_dose_mask", "voxel_dimensions"
REQUIRED = (CT, DOSE, MASK, SPACING)
_COMMA, _NEWLINE = b",\n"


@dataclasses.dataclass(frozen=True)
class RawPatient:
    """The bytes of one patient's CSV files, by name without `.csv`."""

    patient_id: str
    folder: str  # path inside the manual_dir, for messages
    files: Mapping[str, bytes]

    def label(self, name: str) -> str:
        """The path of the file `name` in messages."""
        return f"{self.folder}/{name}.csv"


def check_names(
    raw_names: Mapping[str, object],
    folder: str,
    required: Sequence[str] = REQUIRED,
) -> None:
    """Check the names of a patient's files, without `.csv`.

    Raises:
        SourceError: a required file is missing, or a file is unknown.
    """
    known = (*REQUIRED, *SITE.names)
    for name in required:
        if name not in raw_names:
            raise errors.SourceError(
                f"{folder}/{name}.csv is missing; every patient needs "
                f"{', '.join(f'{n}.csv' for n in required)}; copy the file from the "
                "challenge's data again, or move the patient's folder away"
            )
    for name in raw_names:
        if name not in known:
            raise errors.SourceError(
                f"{folder}/{name}.csv is not a file of the challenge"
                f"{errors.nearest(name, known)}; rename it, or move it away"
            )


def parse(raw: RawPatient, required: Sequence[str] = REQUIRED) -> records.Patient:
    """The patient in `raw`, in canonical axes, with the CT in stored values.

    Args:
        raw: the files of the patient.
        required: names of files that must be there, CT and SPACING among them.

    Raises:
        SourceError: a file is missing, unknown or damaged; the message names it.
    """
    check_names(raw.files, raw.folder, required)
    ct_index, ct_values = _voxels(raw, CT, with_values=True)
    _check_ct(raw, ct_index, ct_values)
    dose_gy = possible = None
    if MASK in raw.files:
        mask_index, _ = _voxels(raw, MASK, with_values=False)
        possible = _volume(mask_index, True, np.bool_)
        if DOSE in raw.files:
            dose_index, dose_values = _voxels(raw, DOSE, with_values=True)
            _check_dose(raw, dose_index, dose_values, mask_index)
            dose_gy = _volume(dose_index, dose_values, np.float32)
    structures = {
        name: _volume(_voxels(raw, name, with_values=False)[0], True, np.bool_)
        for name in SITE.names
        if name in raw.files
    }
    patient = records.Patient(
        patient_id=raw.patient_id,
        grid=geometry.Grid(shape=SHAPE, spacing_mm=_spacing(raw)),
        ct=_volume(ct_index, ct_values, np.float32),
        structures=structures,
        dose_gy=dose_gy,
        possible_dose_mask=possible,
    )
    return records.check_patient(patient, SITE.names)


def _volume(index: np.ndarray, values: np.ndarray | bool, dtype: type) -> np.ndarray:
    """A volume [Z, Y, X], z from the feet, with `values` at the challenge's `index`."""
    volume = np.zeros(VOXELS, dtype)
    # index = (y * 128 + x) * 128 + slice, counted from the head.
    volume[((127 - (index & 127)) << 14) | (index >> 7)] = values
    return volume.reshape(SHAPE)


def _voxels(
    raw: RawPatient, name: str, *, with_values: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Indices (int64, unique) and values (float64; zeros for masks) of a CSV."""
    label = raw.label(name)
    body = _body(label, raw.files[name])
    characters = np.frombuffer(body, np.uint8)
    separators = characters[(characters == _COMMA) | (characters == _NEWLINE)]
    if not (
        np.all(separators[0::2] == _COMMA) and np.all(separators[1::2] == _NEWLINE)
    ):
        _refuse_line(label, body, with_values)
    rows = separators.size // 2
    count = rows * (1 + with_values)
    if with_values:
        # Integers, as in a CT, are parsed as such first: four times as fast.
        numbers = _numbers(body.replace(b".0\n", b","), np.int64, count)
        if numbers is None:
            numbers = _numbers(body.replace(b"\n", b","), np.float64, count)
    else:
        numbers = _numbers(body.replace(b",\n", b","), np.int64, count)
    if numbers is None:
        _refuse_line(label, body, with_values)
    columns = numbers.reshape(rows, -1)
    values = columns[:, 1] if with_values else np.zeros(rows)
    return _check_index(label, columns[:, 0]), values.astype(np.float64)


def _numbers(text: bytes, dtype: type, count: int) -> np.ndarray | None:
    """The `count` comma-separated numbers in `text`; None if it holds anything else."""
    with warnings.catch_warnings(action="ignore"):  # older versions of NumPy only warn
        try:
            numbers = np.fromstring(text, dtype=dtype, sep=",")
        except ValueError:
            return None
    return numbers if numbers.size == count else None


def _body(label: str, content: bytes) -> bytes:
    """The lines after the header, each with its line end."""
    if not content.strip():
        raise errors.SourceError(
            f"{label} is empty; copy it from the challenge's data again"
        )
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n")
    if not content.startswith(HEADER):
        first = content.split(b"\n", 1)[0][:40].decode("ascii", "replace")
        raise errors.SourceError(
            f"{label} begins with {first!r}, expected the header ',data'; "
            "copy it from the challenge's data again"
        )
    body = content[len(HEADER) :]
    if not body:
        raise errors.SourceError(
            f"{label} lists no voxel, expected at least one; delete the file if the "
            "structure was not contoured"
        )
    if not body.endswith(b"\n"):
        last = body.rsplit(b"\n", 1)[-1][:40].decode("ascii", "replace")
        raise errors.SourceError(
            f"{label} is cut off: its last line {last!r} has no line end; "
            "copy it from the challenge's data again"
        )
    return body


def _refuse_line(label: str, body: bytes, with_values: bool) -> NoReturn:
    """Raise a SourceError that shows the first line of `body` with a wrong format."""
    index, value = rb"\s*[+-]?\d+\s*", rb"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*"
    expected = re.compile(index + b"," + (value if with_values else b""))
    line_format = "index,value" if with_values else "index,"
    for line_number, line in enumerate(body.split(b"\n")[:-1], start=2):
        if not expected.fullmatch(line):
            start = line[:40].decode("ascii", "replace")
            raise errors.SourceError(
                f"{label} line {line_number} is {start!r}, expected '{line_format}' "
                "with plain numbers; copy it from the challenge's data again"
            )
    raise errors.SourceError(
        f"{label} cannot be read, expected lines '{line_format}'; "
        "copy it from the challenge's data again"
    )


def _check_index(label: str, index: np.ndarray) -> np.ndarray:
    """`index` as int64, after a check that voxels are in the volume and listed once."""
    outside = ~((index >= 0) & (index < VOXELS) & (index == np.floor(index)))
    if outside.any():
        row = int(np.argmax(outside))
        raise errors.SourceError(
            f"{label} line {row + 2} has index {index[row]:.12g}, expected an integer "
            f"from 0 to {VOXELS - 1} (128 x 128 x 128 voxels); copy it from the "
            "challenge's data again"
        )
    index = index.astype(np.int64)
    if np.all(index[1:] > index[:-1]):
        return index
    unique, counts = np.unique(index, return_counts=True)
    if counts.max() > 1:
        raise errors.SourceError(
            f"{label} lists voxel {unique[np.argmax(counts > 1)]} more than once, "
            "expected once; copy it from the challenge's data again"
        )
    return index


def _check_ct(raw: RawPatient, index: np.ndarray, values: np.ndarray) -> None:
    """Raise a SourceError unless all CT values are integers that fit int16."""
    limits = np.iinfo(np.int16)
    wrong = ~(
        (values >= limits.min) & (values <= limits.max) & (values == np.floor(values))
    )
    if wrong.any():
        row = int(np.argmax(wrong))
        raise errors.SourceError(
            f"{raw.label(CT)} has {values[row]:.12g} at voxel {index[row]}, expected "
            f"an integer from {limits.min} to {limits.max}; copy it from the "
            "challenge's data again"
        )


def _check_dose(
    raw: RawPatient, index: np.ndarray, values: np.ndarray, mask_index: np.ndarray
) -> None:
    """Raise a SourceError unless doses are valid, and listed where dose is possible."""
    wrong = ~((values >= 0) & np.isfinite(values))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise errors.SourceError(
            f"{raw.label(DOSE)} has {values[row]:.12g} Gy at voxel {index[row]}, "
            "expected a finite dose >= 0; copy it from the challenge's data again"
        )
    # This holds for every patient of the challenge, and shows if last lines are lost.
    if not np.array_equal(index, mask_index) and not np.array_equal(
        np.sort(index), np.sort(mask_index)
    ):
        raise errors.SourceError(
            f"{raw.label(DOSE)} lists {index.size} voxels and {raw.label(MASK)} "
            f"{mask_index.size}, expected the same voxels in both; one of them is cut "
            "off or of another patient: copy both from the challenge's data again"
        )


def _spacing(raw: RawPatient) -> geometry.Spacing:
    """Voxel sizes (z, y, x) in mm."""
    text = raw.files[SPACING].decode("ascii", "replace")
    try:
        sizes = [float(line) for line in text.split()]
    except ValueError:
        sizes = []
    if len(sizes) != 3 or not all(0 < size < np.inf for size in sizes):
        raise errors.SourceError(
            f"{raw.label(SPACING)} holds {text[:60]!r}, expected three positive "
            "numbers (mm), one on each line; copy it from the challenge's data again"
        )
    return (sizes[2], sizes[0], sizes[1])


def write_patient(patient: records.Patient, folder: Path) -> None:
    """Write `patient` as the challenge's CSV files into `folder`; `parse` reads them.

    Raises:
        SourceError: the format cannot hold the patient: it has another shape, no dose,
            an empty structure, dose outside the possible-dose mask, or a CT of other
            values than int16 integers.
    """
    records.check_patient(patient, SITE.names)
    mask = patient.possible_dose_mask
    if patient.grid.shape != SHAPE or patient.dose_gy is None or mask is None:
        raise errors.SourceError(
            f"patient {patient.patient_id}: the challenge's format needs 128 x 128 x "
            "128 voxels, a dose and a possible-dose mask"
        )
    if not mask.any() or patient.dose_gy[~mask].any():
        raise errors.SourceError(
            f"patient {patient.patient_id}: the possible-dose mask must cover the dose"
        )
    if (
        not np.array_equal(patient.ct, patient.ct.astype(np.int16))
        or not patient.ct.any()
    ):
        raise errors.SourceError(
            f"patient {patient.patient_id}: the CT must hold integers that fit int16"
        )
    for name, structure in patient.structures.items():
        if not structure.any():
            raise errors.SourceError(
                f"patient {patient.patient_id}: {name} is empty; leave it out"
            )
    folder.mkdir(parents=True, exist_ok=True)
    _write_voxels(folder / f"{CT}.csv", patient.ct != 0, patient.ct)
    _write_voxels(folder / f"{DOSE}.csv", mask, patient.dose_gy)
    _write_voxels(folder / f"{MASK}.csv", mask, None)
    for name, structure in patient.structures.items():
        _write_voxels(folder / f"{name}.csv", structure, None)
    z, y, x = patient.grid.spacing_mm
    (folder / f"{SPACING}.csv").write_text("".join(f"{v:.18e}\n" for v in (y, x, z)))


def _write_voxels(path: Path, listed: np.ndarray, values: np.ndarray | None) -> None:
    """List the voxels in the mask `listed` [Z, Y, X], with `values` unless None."""
    index = np.flatnonzero(_to_file_axes(listed)).tolist()
    if values is None:
        lines = [f"{i},\n" for i in index]
    else:
        exact = _to_file_axes(values).reshape(-1)[index].astype(np.float64)
        # Three decimals, as in the challenge's files, where they are exact in float32.
        rounded = np.round(exact, 3)
        is_exact = rounded.astype(np.float32) == exact.astype(np.float32)
        numbers = np.where(is_exact, rounded, exact).tolist()
        lines = [f"{i},{v}\n" for i, v in zip(index, numbers, strict=True)]
    path.write_bytes(HEADER + "".join(lines).encode("ascii"))


def _to_file_axes(volume: np.ndarray) -> np.ndarray:
    """`volume` [Z, Y, X] as rows, columns and slices from the head, as in the files."""
    return np.ascontiguousarray(volume[::-1].transpose(1, 2, 0))
