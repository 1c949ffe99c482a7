"""Runs the modes of a case in turns, each in a worker process.

Input: a case and its modes. Output: a row of measurements for each mode. One worker
computes at a time, and the others wait for input. A worker that fails, dies or does not
answer in time loses its row, and the run continues.
"""

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.throughput import cases, worker, workload

HUGE_PAGES = "glibc.malloc.hugetlb"


class LostError(Exception):
    """A worker that no longer answers; the message gives the reason."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Duration and resources of a measurement."""

    repeats: int
    steps: int  # of each turn
    threads: int
    patience: float  # seconds until a worker that does not answer is given up
    deadline: float  # time.monotonic() after which no new turn starts
    caches: Path
    logs: Path
    data_dir: Path | None

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


def worker_command() -> list[str]:
    """The command line of a worker, which reads its Spec from its input."""
    return [sys.executable, "-m", "benchmarks.throughput.worker"]


def worker_environment(
    case: cases.Case,
    mode: cases.Mode,
    *,
    threads: int,
    caches: Path,
    user: Mapping[str, str],
) -> dict[str, str]:
    """Changes to the `user`'s environment for a worker; "" removes a variable.

    Args:
        case: the case, with its platform and allocator.
        mode: the mode.
        threads: the number of threads, equal for both frameworks.
        caches: the folder for compiled programs.
        user: the environment of this process.
    """
    tunables = choose_allocator(case.allocator, user.get("GLIBC_TUNABLES", ""))
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "NPROC": str(threads),  # XLA's thread pool
        "GLIBC_TUNABLES": tunables,
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "inductor"),
        "TRITON_CACHE_DIR": str(caches / "triton"),
    }
    if mode.framework == cases.OURS:
        variables["JAX_PLATFORMS"] = case.platform
        if case.platform == "cuda":  # waiting workers keep their memory on the device
            variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    else:
        variables["JAX_PLATFORMS"] = "cpu"  # in case one of our modules starts JAX
    return variables | dict(mode.environment)


def choose_allocator(allocator: str, tunables: str) -> str:
    """The user's GLIBC_TUNABLES, with or without huge pages."""
    others = [item for item in tunables.split(":") if item and HUGE_PAGES not in item]
    if allocator == "hugepages":
        others.append(f"{HUGE_PAGES}=1")
    return ":".join(others)


class Worker:
    """The process of one mode of a case."""

    def __init__(self, case: cases.Case, mode: cases.Mode, settings: Settings):
        changes = worker_environment(
            case,
            mode,
            threads=settings.threads,
            caches=settings.caches,
            user=os.environ,
        )
        merged = os.environ | changes
        self.environment = {name: value for name, value in changes.items() if value}
        settings.logs.mkdir(parents=True, exist_ok=True)
        name = "-".join((case.title + " " + mode.label).replace("/", " ").split())
        self._log = settings.logs / f"{name.replace(',', '')}.txt"
        data_dir = str(settings.data_dir) if settings.data_dir else None
        spec = workload.Spec(case, mode, settings.threads, time.time(), data_dir)
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                worker_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={name: value for name, value in merged.items() if value},
            )
        self._answers: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._write(worker.as_line(spec))

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put("")  # the process has ended

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended; `answer` reports that
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def turn(self, steps: int, patience: float) -> dict[str, Any]:
        """The answer to a turn of `steps`."""
        self._write(json.dumps({"steps": steps}) + "\n")
        return self.answer(patience)

    def answer(self, patience: float) -> dict[str, Any]:
        """The next answer; LostError if there is none within `patience` seconds."""
        try:
            line = self._answers.get(timeout=max(0.0, patience))
        except queue.Empty:
            self._process.kill()
            raise LostError(f"no answer within {patience:.0f} s") from None
        if not line:
            raise LostError(self._describe_end())
        values = json.loads(line)
        if "failed" in values:
            raise LostError(values["failed"])
        return values

    def _describe_end(self) -> str:
        status = self._process.wait()
        lines = self._log.read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1][:300]}" if lines else ""
        if status == -9:
            return "was killed, perhaps because memory ran out" + last
        return f"ended with status {status}{last}"

    def close(self) -> None:
        """End the process: close its input, and kill it after 10 s."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(timeout=10)  # a child of the worker may hold the pipe


def measure(
    case: cases.Case,
    modes: Sequence[cases.Mode],
    settings: Settings,
    advance: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Rows of `modes`, in their order; `advance(label)` follows each start and turn.

    A row holds the mode, its `turns` (seconds, steps, images), what the worker reported
    about its start, and `failed`: None, or the reason why there are no turns.
    """
    rows = [start_row(mode) for mode in modes]
    # A TPU belongs to one process: there a mode ends before the next one starts.
    alone = case.platform == "tpu"
    pairs = list(zip(rows, modes, strict=True))
    for group in [[pair] for pair in pairs] if alone else [pairs]:
        with contextlib.ExitStack() as stack:
            started = []
            for row, mode in group:
                process = start(case, mode, settings, row)
                if process is not None:
                    stack.callback(process.close)
                    started.append((row, process))
                advance(mode.label)
            take_turns(started, settings, advance)
    for row in rows:
        row["failed"] = row["failed"] or (None if row["turns"] else "no time was left")
    return rows


def start_row(mode: cases.Mode) -> dict[str, Any]:
    """The row of `mode` before any measurement."""
    return {
        "framework": mode.framework,
        "mode": mode.name,
        "arithmetic": mode.arithmetic,
        "options": dict(mode.options),
        "compared": mode.compared,
        "turns": [],
        "failed": None,
    }


def start(
    case: cases.Case, mode: cases.Mode, settings: Settings, row: dict[str, Any]
) -> Worker | None:
    """A worker after its first step, or None if it failed; updates `row`."""
    if settings.left() <= 0:
        return None
    process = Worker(case, mode, settings)
    row["environment"] = process.environment
    try:
        # Half of the remaining time is reserved for what comes after.
        row.update(process.answer(min(settings.patience, settings.left() / 2)))
    except LostError as lost:
        row["failed"] = str(lost)
        process.close()
        return None
    except BaseException:
        process.close()
        raise
    return process


def take_turns(
    started: list[tuple[dict[str, Any], Worker]],
    settings: Settings,
    advance: Callable[[str], None],
) -> None:
    """Let the workers take turns until all repeats are done or the time is up."""
    for repeat in range(settings.repeats):
        if repeat and settings.left() <= 0:
            return
        for row, process in started:
            if row["failed"] is None:
                try:
                    add_turn(row, process.turn(settings.steps, settings.patience))
                except LostError as lost:
                    row["failed"] = str(lost)
            advance(f"{row['framework']}/{row['mode']}")


def add_turn(row: dict[str, Any], answer: dict[str, Any]) -> None:
    """Add a worker's answer about one turn to its row."""
    row["turns"].append(
        {name: answer.pop(name) for name in ("seconds", "steps", "images")}
    )
    row.update(answer)
