"""What the reader makes of an odd patient, and whether that is what is expected.

Input: a Case. Output: an Outcome: right, noted or refused as expected, else wrong, with
the reason.
"""

import dataclasses
import pathlib
import time
import warnings

import numpy as np

from mtl_jax.core import errors, sites
from mtl_jax.sources.dicom import reader
from tests.odd_cases import expect, writer

SECONDS = 20.0
DOSE_GY = 0.005
WRONG = "wrong"


@dataclasses.dataclass(frozen=True)
class Outcome:
    kind: str
    said: str  # the notes, or the error
    reason: str = ""  # why it is wrong


def of(case: expect.Case, folder: pathlib.Path) -> Outcome:
    """Write the patient of `case` into `folder`, read it, and compare."""
    folder = folder / "QUASTENFLOSSER_Zyprian_19481102"
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, on what is odd
        made = writer.patient()
        case.change(made)
        made.save(folder)
    begin = time.monotonic()
    try:
        reading = reader.read(
            folder,
            patient_id="odd",
            site=sites.PROSTATE,
            mapping=case.mapping,
            options=reader.Options(**case.options),
        )
    except errors.SourceError as error:
        outcome = _of_refusal(case, str(error))
    except Exception as error:  # of any kind: that is what is looked for
        outcome = Outcome(WRONG, repr(error), f"raises {type(error).__name__}")
    else:
        outcome = _of_reading(case, made.truth, reading)
    seconds = time.monotonic() - begin
    if seconds > SECONDS:
        return Outcome(WRONG, outcome.said, f"takes {seconds:.0f} s")
    leaked = [word for word in writer.SECRETS if word in outcome.said.lower()]
    if leaked:
        return Outcome(WRONG, outcome.said, f"tells {', '.join(leaked)}")
    return outcome


def _of_refusal(case: expect.Case, message: str) -> Outcome:
    if case.expected != expect.REFUSED:
        return Outcome(WRONG, message, "is refused")
    if missing := [word for word in case.words if word not in message]:
        return Outcome(WRONG, message, f"the message lacks {missing}")
    return Outcome(expect.REFUSED, message)


def _of_reading(
    case: expect.Case, truth: writer.Truth, reading: reader.Reading
) -> Outcome:
    notes = [str(note) for note in reading.notes]
    said = "; ".join(notes)
    if differences := _differences(truth, reading):
        return Outcome(WRONG, said, "; ".join(differences))
    if case.expected == expect.REFUSED:
        return Outcome(WRONG, said, "is not refused")
    if case.expected == expect.RIGHT and notes:
        return Outcome(WRONG, said, "has a note without a need")
    if case.expected == expect.NOTED and not any(
        all(word in note for word in case.words) for note in notes
    ):
        return Outcome(WRONG, said, f"no note has {list(case.words)}")
    return Outcome(case.expected, said)


def _differences(truth: writer.Truth, reading: reader.Reading) -> list[str]:
    """How the patient differs from the truth, in words."""
    found = reading.patient
    raster = truth.raster
    grid = (found.grid.origin_mm, found.grid.spacing_mm[::-1], found.grid.shape[::-1])
    if grid[2] != raster.count:
        return [f"the CT has {grid[2]} voxels, not {raster.count}"]
    differences = []
    places = (raster.first_mm, raster.step_mm)
    if max(np.abs(np.subtract(grid[:2], places)).ravel()) > 1e-3:
        differences.append(f"the CT lies at {grid[:2]}, not {places}")
    if not np.array_equal(found.ct, truth.ct.astype(np.float32)):
        differences.append(f"the CT is {_count(found.ct != truth.ct)} off")
    names = set(truth.masks) ^ set(found.structures)
    differences += [f"{name} is only in one of both" for name in sorted(names)]
    for name in sorted(set(truth.masks) & set(found.structures)):
        wrong = truth.masks[name] != found.structures[name]
        if wrong.any():
            differences.append(f"{name} is {_count(wrong)} off")
    return differences + _dose_differences(truth, reading)


def _dose_differences(truth: writer.Truth, reading: reader.Reading) -> list[str]:
    dose, known = reading.patient.dose_gy, reading.patient.possible_dose_mask
    if truth.dose is None or truth.known is None or dose is None or known is None:
        both = [part is None for part in (truth.dose, dose)]
        return [] if all(both) else ["the dose is only in one of both"]
    differences = []
    if not np.array_equal(known, truth.known):
        differences.append(
            f"where the dose is known is {_count(known ^ truth.known)} off"
        )
    wrong = np.abs(dose - np.where(truth.known, truth.dose, 0)) > DOSE_GY
    if wrong.any():
        differences.append(f"the dose is {_count(wrong)} off")
    return differences


def _count(wrong: np.ndarray) -> str:
    return f"in {np.count_nonzero(wrong)} of {wrong.size} voxels"
