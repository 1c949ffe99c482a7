"""The process that runs one mode of one case: JSON lines in, JSON lines out.

Input: a Spec, then {"steps": n} for each turn; the process ends with its input. Output:
a line after the first step, then a line for each turn, or {"failed": reason}.
"""

import dataclasses
import importlib
import json
import os
import resource
import sys
import traceback
from typing import Any, TextIO

from benchmarks.throughput import cases, workload

# The module that has a function called as the part. Only the worker imports it.
MODULES = {
    cases.OURS: {
        "train": "jax_workloads",
        "inference": "jax_workloads",
        cases.PRODUCTS: "jax_workloads",
        "pipeline": "jax_data_workloads",
        "end_to_end": "jax_data_workloads",
        "evaluation": "jax_data_workloads",
    },
    cases.PYTORCH: {
        "train": "torch_workloads",
        "inference": "torch_workloads",
        cases.PRODUCTS: "torch_workloads",
        "pipeline": "torch_data_workloads",
        "end_to_end": "torch_data_workloads",
        "evaluation": "torch_data_workloads",
    },
}


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the output of libraries goes to the log
    spec = workload.Spec.from_json(json.loads(sys.stdin.readline()))
    limit_threads(spec.threads)
    try:
        ready = prepare(spec)
        write(
            answers,
            first_step_seconds=ready.first_step - spec.started,
            compile_seconds=ready.compile_seconds,
            compiler_operations=ready.operations,
        )
        ready.release()
        for line in sys.stdin:
            turn = ready.turn(json.loads(line)["steps"])
            ready.release()
            write(
                answers,
                **turn._asdict(),
                peak_bytes=peak_bytes(),
                device_peak_bytes=ready.device_bytes(),
            )
    except Exception as error:
        traceback.print_exc()
        text = (str(error).strip() or "no message").splitlines()[0]
        write(answers, failed=f"{type(error).__name__}: {text[:300]}")


def prepare(spec: workload.Spec) -> workload.Workload:
    """Build the workload of `spec` and run it once."""
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
    """Peak memory of this process in bytes, compilers included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def write(answers: TextIO, **values: Any) -> None:
    """Write one line of JSON."""
    answers.write(json.dumps(values) + "\n")


def as_line(spec: workload.Spec) -> str:
    """`spec` as the line that `main` reads."""
    return json.dumps(dataclasses.asdict(spec)) + "\n"


if __name__ == "__main__":
    main()
