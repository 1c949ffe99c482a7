"""The loop over the patients: each from its folder to its files, if not yet done.

Input: a Request and the patients' folders. Output: a folder for each patient, complete
or absent; a line for each that failed; a summary of the evaluation, if requested.
A patient's statistics.json says what its files were made of (checkpoint, settings,
input); if none of that has changed, the patient is done.
"""

import contextlib
import dataclasses
import functools
import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mtl_jax import __version__
from mtl_jax.core import errors, files, records
from mtl_jax.evaluation import scoring, summary
from mtl_jax.export import rtdose
from mtl_jax.predict import (
    case_checks,
    cases,
    output_files,
    reference_plan,
    result_checks,
    trained_model,
)
from mtl_jax.run import workdir
from mtl_jax.sources.clinical import dicom_patient, pseudonyms

ONLY_NIFTI = (
    "CTs that are NIfTI: the results are NIfTI too, without RTSTRUCT and RTDOSE, which "
    "refer to a DICOM CT; --dicom writes them, with the CT, in an invented frame of "
    "reference"
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What to do, the same for every patient."""

    model: trained_model.TrainedModel
    out: Path
    reading: cases.ReadingOptions
    contours: cases.PathOrAuto  # the contours that the role needs
    reference: cases.PathOrAuto  # to evaluate against; None: no evaluation
    formats: output_files.Formats

    def folder(self, case_folder: cases.CaseFolder) -> Path:
        """Where the patient's files go."""
        return self.out / case_folder.patient_id

    def basis(self, case_folder: cases.CaseFolder) -> dict[str, Any]:
        """All that the patient's files depend on; nothing in it identifies anybody."""
        paths = (self.contours, self.reference, self.formats.plan)
        other_paths = [path for path in paths if isinstance(path, Path)]
        # A mapping contains names of ROIs, which are free text: hashed.
        reading = repr((self.reading.dicom, sorted(self.reading.mapping.items())))
        return {
            "version": __version__,
            "network": self.model.basis,
            "input": cases.fingerprint(case_folder, other_paths),
            "read_with": hashlib.sha256(reading.encode()).hexdigest(),
            "evaluated": self.reference is not None,
            "with_plan": self.formats.plan is not None,
            "writes_plan": self.formats.with_plan,
            "short_names": self.formats.short_names,
            "dicom": self.formats.dicom,
            "nifti": self.formats.nifti,
        }


# Patients that are not done, by number, each with the basis of its files.
Todo = dict[int, tuple[cases.CaseFolder, Mapping[str, Any]]]


def run(
    request: Request, patients: Sequence[cases.CaseFolder], *, overwrite: bool
) -> int:
    """Predict the patients that are not done; 0 if all are done then, else 1.

    The caller holds the lock on `request.out`.
    """
    todo: Todo = {}
    for number, patient in enumerate(patients, 1):
        files.settle_folder(request.folder(patient))
        basis = request.basis(patient)
        if overwrite or not _is_done(request.folder(patient), basis):
            todo[number] = (patient, basis)
    if len(todo) < len(patients):
        print(
            f"{len(patients) - len(todo)} of {len(patients)} patients were already done"
        )
    failed = _predict_all(request, todo, len(patients)) if todo else set()
    done = [patient for n, patient in enumerate(patients, 1) if n not in failed]
    if request.reference is not None:
        _print_scores(request, done)
    failures = sum(bool(_failures(request.folder(patient))) for patient in done)
    print(
        f"{len(done)} of {len(patients)} patients in "
        f"{errors.printable(str(request.out))}; key file: "
        f"{errors.printable(pseudonyms.key_file(request.out).name)}"
        + (f"; CHECK {failures}: no contour, or a very low dose" if failures else "")
    )
    if not request.formats.dicom and any(one.kind == "nifti" for one in done):
        print(ONLY_NIFTI)
    return 1 if failed else 0


def _is_done(folder: Path, basis: Mapping[str, Any]) -> bool:
    """Whether `folder` already holds all files, made of the same `basis`."""
    try:
        statistics = workdir.read_json(folder / output_files.STATISTICS)
        return statistics["basis"] == basis and _file_names(folder).issuperset(
            statistics["files"]
        )
    except (errors.WorkdirError, KeyError, TypeError):
        return False


def _failures(folder: Path) -> Sequence[str]:
    """What is wrong with the prediction in `folder`."""
    try:
        statistics = workdir.read_json(folder / output_files.STATISTICS)
        return statistics.get(output_files.FAILURES, ())
    except (errors.WorkdirError, AttributeError):
        return ()


def _file_names(folder: Path) -> set[str]:
    """The files in `folder` and below."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _predict_all(request: Request, todo: Todo, total: int) -> set[int]:
    """Predict the patients in `todo`, of `total`; the numbers of those that failed."""
    began = time.monotonic()
    network = trained_model.load(request.model)
    count = 1 + len(network.others)
    networks = "network" if count == 1 else f"{count} networks"
    print(f"{networks} ready in {time.monotonic() - began:.1f} s")
    failed = set()
    progress = tqdm(todo.items(), desc="predict", unit="pt", dynamic_ncols=True)
    for number, (patient, basis) in progress:
        label = f"{patient.patient_id} ({number} of {total})"
        warn = functools.partial(_print_line, "warning", label)
        try:
            with dicom_patient.guarded(), _without_paths():
                predict_patient(request, patient, basis, network, warn)
        except errors.MtlError as error:
            _print_line("error", label, str(error))
            failed.add(number)
    return failed


def predict_patient(
    request: Request,
    case_folder: cases.CaseFolder,
    basis: Mapping[str, Any],
    network: trained_model.Network,
    warn: Callable[[str], None],
) -> None:
    """Write the patient's folder; `warn` is called with each warning.

    Raises:
        MtlError: it cannot be written, and why; an earlier folder stays as it was.
    """
    model, clock = request.model, _Clock()
    case = cases.read(case_folder, model, request.reading, request.contours)
    # Errors before predicting, not after it.
    reference = _reference(request, case_folder)
    plan, plan_remarks = _plan(request, case)
    warnings = [*case_checks.warnings(case, model), *plan_remarks]
    for warning in warnings:
        warn(warning)
    clock.stop("read")
    raw = trained_model.predict(network, case.patient)
    prediction = raw.cleaned_up(case.patient, model.rules)
    failures = result_checks.failures(prediction, model)
    for failure in failures:
        warn(failure)
    clock.stop("predict")
    with files.whole_folder(request.folder(case_folder)) as folder:
        contours_in = raw.contours_in or case.patient.structures
        values = output_files.write(
            folder,
            case,
            prediction,
            contours_in,
            model,
            request.formats,
            failures,
            plan,
        )
        for remark in values[output_files.EXPORT]:
            warn(remark)
        clock.stop("write")
        if reference is not None:
            contours = model.rules.variants(raw.masks)
            rows = scoring.score_arrays(reference, raw.dose_gy, contours, model.rules)
            scoring.write_csv(rows, folder / output_files.EVALUATION)
            clock.stop("evaluate")
        statistics = {
            "patient": case_folder.patient_id,
            **output_files.model_statistics(model),
            **values,
            "warnings": warnings,
            "notes": list(case.notes),
            "seconds": clock.seconds,
            "files": sorted(_file_names(folder)),
            "basis": basis,
        }
        workdir.write_json(statistics, folder / output_files.STATISTICS)


def _reference(
    request: Request, case_folder: cases.CaseFolder
) -> records.Patient | None:
    """The patient to evaluate against, if that is wanted."""
    path = request.reference
    if path is None:
        return None
    return cases.read_reference(case_folder, request.model, request.reading, path)


def _plan(request: Request, case: cases.Case) -> tuple[rtdose.Plan | None, list[str]]:
    """The reference plan, if one is given, and what could not be checked of it."""
    path = request.formats.plan
    if path is None:
        return None, []
    allow_approved = request.formats.refer_to_approved_plan
    return reference_plan.read(path, case, allow_approved=allow_approved)


class _Clock:
    """Seconds by task."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def stop(self, task: str) -> None:
        """Count the time since the last call for `task`."""
        now = time.perf_counter()
        self.seconds[task] = round(now - self._since, 3)
        self._since = now


def _print_line(kind: str, label: str, message: str) -> None:
    """Print one line above the progress bar, with free text from files escaped."""
    tqdm.write(errors.printable(f"{kind}: {label}: {message}"), file=sys.stderr)


@contextlib.contextmanager
def _without_paths() -> Iterator[None]:
    """Reduce an OSError to its reason: its path may name a patient."""
    try:
        yield
    except OSError as error:
        raise errors.OutputError(
            f"a file cannot be read or written ({error.strerror})"
        ) from None


def _print_scores(request: Request, patients: Sequence[cases.CaseFolder]) -> None:
    """Print the scores over all evaluated patients; write all rows to one file."""
    paths = [request.folder(patient) / output_files.EVALUATION for patient in patients]
    rows = [row for path in paths if path.exists() for row in scoring.read_csv(path)]
    if not rows:
        return
    scoring.write_csv(rows, request.out / output_files.EVALUATION)
    result = scoring.summarise(rows, request.model.site)
    scores = [
        f"{label} {result[key]:.3f}" if isinstance(result[key], float) else
        f"{label} {result[key]}"
        for key, label in summary.SCORES
        if key in result
    ]  # fmt: skip
    print(f"evaluation of {result['patients']} patients: {', '.join(scores)}")
