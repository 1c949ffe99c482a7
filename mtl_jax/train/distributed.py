"""Several processes that train one network: how they start, communicate and end.

Input: flags, or the environment of a TPU pod or of SLURM. Output: the same values in
all processes. Only the first process reads and writes the working directory; it sends
what it reads to the others. In a single process these functions start nothing.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

# The coordination service has no public name; only it can wait without a device.
from jax._src import distributed as services
from jax.experimental import multihost_utils

from mtl_jax.core import command_line, errors, records

T = TypeVar("T")

# After this time without a sign of life a process counts as lost, and all others end.
HEARTBEAT_S = 60
# All processes must start, and end, within these times of each other.
STARTING_S, ENDING_S = 300, 60
# A process that fails waits this long for the others, which may have failed too.
FAILING_S = 5
# The first process may build data or score patients while the others wait: a week.
WAITING_MS = 7 * 24 * 3600 * 1000

_calls = itertools.count()  # numbers the joint calls, alike in all processes
_inside_once: list[bool] = []


@contextlib.contextmanager
def connected(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> Iterator[None]:
    """Join the other processes, if there are any (`start`); all end together.

    Raises:
        ProcessError: the others do not start, or one of them has ended.
    """
    start(coordinator_address, num_processes, process_id)
    try:
        yield
        wait()
    except jax.errors.JaxRuntimeError as error:
        if count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise errors.ProcessError(
            f"process {index()} of {count()}: an exchange with the others failed "
            f"({str(error).splitlines()[0][:300]}): most likely another one has ended, "
            "and its own messages say why. Start the same command in all of them: the "
            "run continues from its newest checkpoint"
        ) from error


def leave(status: int, *, together: bool) -> int:
    """End together with the other processes; returns `status`, this one's exit status.

    If the others do not come in time, this process ends at once, so that they notice
    soon. The time is short unless all are expected to end `together`.
    """
    if count() == 1:
        return status
    sys.stdout.flush()
    sys.stderr.flush()
    seconds = ENDING_S if together else FAILING_S
    try:
        _client().wait_at_barrier("mtl_jax/leave", seconds * 1000)
    except jax.errors.JaxRuntimeError:
        os._exit(status)
    return status


def start(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Join the other processes, if there are any, before JAX uses a device.

    Without arguments, a TPU pod or a step of SLURM is recognised, and JAX reads its
    settings. `num_processes` 1 says that there are no others.

    Raises:
        ConfigError: values that contradict each other.
        ProcessError: the others do not start in time.
    """
    values = (coordinator_address, num_processes, process_id)
    without = values == (None, None, None)
    if num_processes == 1 or (without and not _has_other_processes()):
        return
    if None in values and not without:
        raise errors.ConfigError(
            "--coordinator_address, --num_processes and --process_id belong together: "
            f"they are {', '.join(map(str, values))}; give all three, or none"
        )
    if num_processes is not None and not 0 <= (process_id or 0) < num_processes:
        raise errors.ConfigError(
            f"--process_id is {process_id}: give 0 to {num_processes - 1}, another to "
            "each process"
        )
    try:
        jax.distributed.initialize(
            coordinator_address,
            num_processes,
            process_id,
            initialization_timeout=STARTING_S,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            shutdown_timeout_seconds=ENDING_S,
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise errors.ProcessError(
            f"the processes did not find each other: {error}; start the same command "
            "on every machine with --coordinator_address=HOST:PORT --num_processes=N "
            "--process_id=0...N-1, or with --num_processes=1 if there is only one"
        ) from error


def _has_other_processes() -> bool:
    """Whether this is a step of SLURM with several tasks, or a machine of a TPU pod."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return True
    platforms = os.environ.get("JAX_PLATFORMS") or "tpu"
    chips = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    if "tpu" not in platforms or not chips or not importlib.util.find_spec("libtpu"):
        return False
    if names := os.environ.get("TPU_WORKER_HOSTNAMES"):
        return len(names.split(",")) > 1
    return "TPU_SKIP_MDS_QUERY" not in os.environ  # a virtual machine of Google Cloud


def count() -> int:
    """How many processes train together; 1 while the first one works alone (`once`)."""
    return 1 if _inside_once else services.global_state.num_processes


def index() -> int:
    """The number of this process, from 0."""
    return services.global_state.process_id


def is_first() -> bool:
    """Whether this process is the one that reads and writes the working directory."""
    return index() == 0


def shows_progress() -> bool:
    """Whether this process shows progress bars: the first one, without `--quiet`."""
    return is_first() and not command_line.is_quiet()


def wait() -> None:
    """Return when all processes have called this."""
    if count() > 1:
        _client().wait_at_barrier(f"mtl_jax/{next(_calls)}", WAITING_MS)


def once(function: Callable[[], T]) -> T:
    """Call `function` in the first process; all return its result, or its MtlError.

    The result is sent as JSON.
    """
    if count() == 1:
        return function()
    key = f"mtl_jax/{next(_calls)}"
    if is_first():
        _inside_once.append(True)
        try:
            value = function()
        except errors.MtlError as error:
            answer = {"type": type(error).__name__, "error": str(error)}
            _client().key_value_set(key, json.dumps(answer))
            raise
        finally:
            _inside_once.pop()
        _client().key_value_set(key, json.dumps({"value": value}))
        return value
    answer = json.loads(_client().blocking_key_value_get(key, WAITING_MS))
    if "error" in answer:
        raise getattr(errors, answer["type"])(answer["error"])
    return answer["value"]


@contextlib.contextmanager
def in_first_process(
    context: contextlib.AbstractContextManager[None],
) -> Iterator[None]:
    """Enter and leave `context` in the first process only; the others wait."""
    with contextlib.ExitStack() as stack:
        once(lambda: stack.enter_context(context))
        yield


def call_in_turn(function: Callable[[], T]) -> T:
    """Call `function` in each process: first the first, then the others.

    At most one process at a time runs on each machine. Returns this process's result.

    Raises:
        ProcessError: `function` raised an MtlError in one of the processes.
    """
    if count() == 1:
        return function()
    results: list[T] = []
    machines = ["first", *exchange(socket.gethostname())[1:]]
    turns = [0, *(1 + machines[1:k].count(machines[k]) for k in range(1, count()))]
    for turn in range(max(turns) + 1):
        problem = ""
        if turn == turns[index()]:
            try:
                results.append(function())
            except errors.MtlError as error:
                problem = f"process {index()}: {error}"
        for message in exchange(problem):
            if message:
                raise errors.ProcessError(message)
    return results[0]


def check_same(values: Mapping[str, Any]) -> None:
    """Check that all processes have the same `values`.

    Raises:
        ConfigError: in all processes; it names the first difference.
    """
    by_process = [json.loads(text) for text in exchange(json.dumps(values))]
    first = by_process[0]
    for number, current in enumerate(by_process):
        for name in sorted({*current, *first}):
            if current.get(name) != first.get(name):
                raise errors.ConfigError(
                    f"{name} of process {number} is {current.get(name)!r}, of process "
                    f"0 {first.get(name)!r}: give all processes the same"
                )


def exchange(text: str) -> list[str]:
    """The texts of all processes, in their order; each returns the same list."""
    if count() == 1:
        return [text]
    key = f"mtl_jax/{next(_calls)}"
    _client().key_value_set(f"{key}/{index()}", text)
    return [
        _client().blocking_key_value_get(f"{key}/{number}", WAITING_MS)
        for number in range(count())
    ]


def from_first(function: Callable[[], T], like: Any) -> T:
    """Call `function` in the first process; all return its host tree, bit for bit.

    `like` has the tree's structure, shapes and types.
    """
    if count() == 1:
        return function()
    results: list[T] = []
    once(lambda: results.append(function()))
    local: Any = (
        results[0]
        if results
        else jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    )
    # As bytes: a sum with zeros would lose the sign of a zero.
    raw = jax.tree.map(lambda leaf: np.ravel(leaf).view(np.uint8), local)
    sent = multihost_utils.broadcast_one_to_all(raw)
    return jax.tree.map(
        lambda leaf, raw: np.asarray(raw).view(leaf.dtype).reshape(leaf.shape),
        local,
        sent,
    )


def gather(tree: Any) -> Any:
    """Host arrays [b, ...] of all processes, concatenated to [B, ...], in each process.

    An array that is spread over their devices is returned as a whole.
    """
    if count() == 1:
        return tree
    return multihost_utils.process_allgather(tree, tiled=True)


def with_all_rows(batches: Iterable[records.Batch]) -> Iterator[records.Batch]:
    """`batches` whose `patient` and `mask` cover the rows of all processes.

    The images stay those of this process; the network's outputs have all rows again.
    """
    for batch in batches:
        wait()  # for the first process, which also saves and scores
        columns = {"patient": batch["patient"], "mask": batch["mask"]}
        yield batch | gather(columns)


@contextlib.contextmanager
def synchronised_stop() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns True after one process received SIGTERM or Ctrl-C.

    It does so from the same call on in all processes: JAX's handler notes the signal,
    and its coordination service chooses a call that no process has made yet.
    """
    calls = itertools.count()

    def note(number: int, _: object) -> None:
        signal.signal(number, before)  # a second one ends the program
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: multihost_utils.reached_preemption_sync_point(next(calls))
    finally:
        signal.signal(signal.SIGINT, before)
        # The handler of SIGTERM before JAX replaced it.
        previous = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _client() -> Any:
    return services.global_state.client
