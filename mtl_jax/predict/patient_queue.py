"""Many patients, one after the other; one that fails does not stop the rest.

Goes in: an Order and its patients. Comes out: their folders, a line for each that
failed, a summary of the evaluation if one was asked for, and the exit status.
"""

import contextlib
import functools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from mtl_jax.core import errors
from mtl_jax.evaluation import scoring, summary
from mtl_jax.predict import (
    inputs,
    output_files,
    patient_job,
    trained_model,
    whole_folders,
)
from mtl_jax.sources.clinical import dicom_patient, pseudonyms

# Patients by their number, each with what its folder is made of.
Todo = dict[int, tuple[inputs.Input, Mapping[str, Any]]]


def run(
    order: patient_job.Order, patients: Sequence[inputs.Input], *, overwrite: bool
) -> int:
    """Deliver what is not done yet; 0 if all is there then, else 1.

    The caller holds `order.out`.
    """
    todo: Todo = {}
    for number, one in enumerate(patients, 1):
        whole_folders.settle(order.folder(one))
        basis = order.basis(one)
        if overwrite or not patient_job.is_done(order, one, basis):
            todo[number] = (one, basis)
    if len(todo) < len(patients):
        print(
            f"{len(patients) - len(todo)} of {len(patients)} patients were done before"
        )
    failed = _deliver(order, todo, len(patients)) if todo else set()
    done = [one for number, one in enumerate(patients, 1) if number not in failed]
    if order.reference is not None:
        _print_scores(order, done)
    print(
        f"{len(done)} of {len(patients)} patients in "
        f"{errors.printable(str(order.out))}; who they are: "
        f"{errors.printable(pseudonyms.key_file(order.out).name)}"
    )
    return 1 if failed else 0


def _deliver(order: patient_job.Order, todo: Todo, among: int) -> set[int]:
    """The numbers of the patients `todo`, `among` so many, that failed."""
    began = time.monotonic()
    network = trained_model.load(order.about)
    print(f"network ready in {time.monotonic() - began:.1f} s")
    failed = set()
    progress = tqdm(todo.items(), desc="predict", unit="pt", dynamic_ncols=True)
    for number, (one, basis) in progress:
        who = f"{one.patient_id} ({number} of {among})"
        warn = functools.partial(_say, "warning", who)
        try:
            with dicom_patient.guarded(), _explained():
                patient_job.deliver(order, one, basis, network, warn)
        except errors.MtlError as error:
            _say("error", who, str(error))
            failed.add(number)
    return failed


def _say(kind: str, who: str, what: str) -> None:
    """One line, past the progress bar; what stands in files is foreign text."""
    tqdm.write(errors.printable(f"{kind}: {who}: {what}"), file=sys.stderr)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Of what a disk refuses tell the reason alone: the rest may name a path."""
    try:
        yield
    except OSError as error:
        raise errors.OutputError(
            f"a file cannot be read or written ({error.strerror})"
        ) from None


def _print_scores(order: patient_job.Order, patients: Sequence[inputs.Input]) -> None:
    """One line over all patients that were evaluated; all their rows in one file."""
    paths: list[Path] = [
        order.folder(one) / output_files.EVALUATION for one in patients
    ]
    rows = [row for path in paths if path.exists() for row in scoring.read_csv(path)]
    if not rows:
        return
    scoring.write_csv(rows, order.out / output_files.EVALUATION)
    found = scoring.summarise(rows, order.about.site)
    scores = [
        f"{label} {found[key]:.3f}" if isinstance(found[key], float) else
        f"{label} {found[key]}"
        for key, label in summary.SCORES
        if key in found
    ]  # fmt: skip
    print(f"evaluation of {found['patients']} patients: {', '.join(scores)}")
