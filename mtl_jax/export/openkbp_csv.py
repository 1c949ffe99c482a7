"""Predicted doses and masks as the CSV files of the OpenKBP challenge.

Input: doses or masks on the challenge's grid. Output: sparse CSV files; a flat zip of
them is a submission.

`pt_N.csv` has the header `,data` and a line `index,dose` for each voxel whose dose is
not zero. `index` counts in C order over 128 rows (to posterior), 128 columns (to the
patient's left) and 128 slices (from head to feet). Babier et al., Med. Phys. 48, 5549.
"""

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mtl_jax.core import errors, files

SHAPE = (128, 128, 128)


def write(doses_gy: Iterable[tuple[str, np.ndarray]], path: Path) -> int:
    """Write pairs of (patient id, dose [Z, Y, X] float32 in Gy) to the zip `path`.

    Doses are written unchanged, exactly to the last bit of the float32; apply the
    possible-dose mask before, since the score penalises dose outside it. The same doses
    give the same bytes. The file is written completely or not at all.

    Returns:
        The number of patients.

    Raises:
        RecordError: the format cannot hold a dose, an id is not `pt_N` or is repeated,
            or there is no patient.
    """
    written: set[str] = set()
    with files.whole(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        for patient, dose_gy in doses_gy:
            _check(patient, dose_gy, written)
            # A fixed date, so that the bytes do not depend on the clock.
            member = zipfile.ZipInfo(f"{patient}.csv", (1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            archive.writestr(member, csv_bytes(dose_gy))
            written.add(patient)
        if not written:
            raise errors.RecordError("no patient to submit: predict a split first")
    return len(written)


def csv_bytes(dose_gy: np.ndarray) -> bytes:
    """The sparse CSV of a dose [Z, Y, X] float32 in Gy; z grows to the head."""
    # Rows, columns, slices from the head.
    values = dose_gy[::-1].transpose(1, 2, 0).reshape(-1)
    index = np.flatnonzero(values)
    # NumPy writes a float32 with the fewest digits that identify it.
    texts = values[index].astype(np.str_).tolist()
    lines = [f"{i},{text}\n" for i, text in zip(index.tolist(), texts, strict=True)]
    return (",data\n" + "".join(lines)).encode("ascii")


def mask_bytes(mask: np.ndarray) -> bytes:
    """The sparse CSV of a mask [Z, Y, X] bool: a line `index,` for each voxel in it."""
    index = np.flatnonzero(mask[::-1].transpose(1, 2, 0).reshape(-1))
    return (",data\n" + "".join(f"{i},\n" for i in index.tolist())).encode("ascii")


def _check(patient: str, dose_gy: np.ndarray, written: set[str]) -> None:
    if not re.fullmatch(r"pt_[0-9]+", patient):
        raise errors.RecordError(
            f"patient {patient!r} cannot be submitted; expected an id of the "
            "challenge, such as pt_1"
        )
    if patient in written:
        raise errors.RecordError(
            f"patient {patient} appears twice in the submission, expected once"
        )
    if dose_gy.shape != SHAPE or dose_gy.dtype != np.float32:
        raise errors.RecordError(
            f"patient {patient}: the dose is {dose_gy.dtype} {dose_gy.shape}, expected "
            f"float32 {SHAPE}"
        )
    if not np.all(np.isfinite(dose_gy)) or dose_gy.min() < 0:
        raise errors.RecordError(
            f"patient {patient}: the dose has negative, NaN or infinite values; "
            "expected finite values in Gy of at least 0"
        )
