"""One mode of one case in a process of its own: JSON lines in, JSON lines out.

In: a Spec, then {"steps": n} for each turn; the end of the input ends the process. Out:
what was known after the first step, then a line for each turn; or {"failed": why}.
"""

import dataclasses
import importlib
import json
import os
import resource
import sys
import traceback
from typing import Any, TextIO

from benchmarks.throughput import cases, job

# Where the function called as the part is; imported in the worker alone.
MODULES = {
    cases.OURS: {
        "train": "ours",
        "inference": "ours",
        cases.PRODUCTS: "ours",
        "pipeline": "ours_with_data",
        "end_to_end": "ours_with_data",
        "evaluation": "ours_with_data",
    },
    cases.PYTORCH: {
        "train": "theirs",
        "inference": "theirs",
        cases.PRODUCTS: "theirs",
        "pipeline": "theirs_with_data",
        "end_to_end": "theirs_with_data",
        "evaluation": "theirs_with_data",
    },
}


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes to the log
    spec = job.Spec.from_json(json.loads(sys.stdin.readline()))
    limit_threads(spec.threads)
    try:
        made = prepare(spec)
        say(
            answers,
            first_step_seconds=made.first_step - spec.started,
            compile_seconds=made.compile_seconds,
            compiler_operations=made.operations,
        )
        made.rest()
        for line in sys.stdin:
            turn = made.turn(json.loads(line)["steps"])
            made.rest()
            say(
                answers,
                **turn._asdict(),
                peak_bytes=peak_bytes(),
                device_peak_bytes=made.device_bytes(),
            )
    except Exception as error:
        traceback.print_exc()
        text = (str(error).strip() or "no message").splitlines()[0]
        say(answers, failed=f"{type(error).__name__}: {text[:300]}")


def prepare(spec: job.Spec) -> job.Job:
    """Build what `spec` asks for, and compute it once."""
    name = MODULES[spec.mode.framework][spec.case.part]
    module = importlib.import_module(f"benchmarks.throughput.{name}")
    return getattr(module, spec.case.part)(spec)


def limit_threads(threads: int) -> None:
    """Run on the first `threads` cores that this process may use."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if threads < len(allowed):
            os.sched_setaffinity(0, set(allowed[:threads]))


def peak_bytes() -> int:
    """Most memory that this process has held, compilers included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def say(answers: TextIO, **values: Any) -> None:
    """Write one line."""
    answers.write(json.dumps(values) + "\n")


def as_line(spec: job.Spec) -> str:
    """`spec` as this module reads it."""
    return json.dumps(dataclasses.asdict(spec)) + "\n"


if __name__ == "__main__":
    main()
