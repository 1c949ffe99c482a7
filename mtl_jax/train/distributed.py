"""Several processes that train one network: how they find each other, and agree.

In: flags, or what a TPU pod or SLURM says of itself. The first process alone reads and
writes the working directory; what it finds there it tells the others. A process that is
alone passes through all of this without starting anything.
"""

import contextlib
import importlib.util
import itertools
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

# The coordination service has no public name: it alone can wait without a device.
from jax._src import distributed as services
from jax.experimental import multihost_utils

from mtl_jax.core import errors

T = TypeVar("T")

# A process that is silent for so long counts as gone, and all others end.
HEARTBEAT_S = 60
# All processes have to come, and to leave, within these times of each other.
COMING_S, LEAVING_S = 300, 60
# One that fails waits so long for the others, which may have failed with it.
ALONE_S = 5
# The first process may build data or score patients while the others wait: a week.
PATIENCE_MS = 7 * 24 * 3600 * 1000

_calls = itertools.count()  # names what processes do together: the same at each of them
_inside_once: list[bool] = []


@contextlib.contextmanager
def joined(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> Iterator[None]:
    """Together with the other processes, if there are any (`start`); all end together.

    Raises:
        ProcessError: the others do not come, or one of them is gone.
    """
    start(coordinator_address, num_processes, process_id)
    try:
        yield
        wait()
    except jax.errors.JaxRuntimeError as error:
        if count() == 1 or "RESOURCE_EXHAUSTED" in str(error):
            raise
        raise errors.ProcessError(
            f"what process {index()} of {count()} does with the others failed "
            f"({str(error).splitlines()[0][:300]}): most likely another one has ended, "
            "and its own messages say why. Start the same command at all of them; the "
            "run goes on from its newest checkpoint"
        ) from error


def leave(status: int, *, together: bool) -> int:
    """`status`, with which this process ends.

    All leave together, if the others come in time. If not, it ends here and now, so
    that they notice soon; not much is waited for where `together` is not expected.
    """
    if count() == 1:
        return status
    sys.stdout.flush()
    sys.stderr.flush()
    seconds = LEAVING_S if together else ALONE_S
    try:
        _client().wait_at_barrier("mtl_jax/leave", seconds * 1000)
    except jax.errors.JaxRuntimeError:
        os._exit(status)
    return status


def start(
    coordinator_address: str | None, num_processes: int | None, process_id: int | None
) -> None:
    """Join the other processes, if there are any; before JAX touches a device.

    The three say it all where they are given, and `num_processes` 1 that there are no
    others. Else a TPU pod or a step of SLURM is recognised, and JAX asks it.

    Raises:
        ConfigError: values that do not fit together.
        ProcessError: the others do not come.
    """
    given = (coordinator_address, num_processes, process_id)
    if num_processes == 1 or (given == (None, None, None) and not _is_one_of_several()):
        return
    if None in given and given != (None, None, None):
        raise errors.ConfigError(
            "--coordinator_address, --num_processes and --process_id belong together: "
            f"they are {', '.join(map(str, given))}; give all three, or none"
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
            initialization_timeout=COMING_S,
            heartbeat_timeout_seconds=HEARTBEAT_S,
            shutdown_timeout_seconds=LEAVING_S,
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise errors.ProcessError(
            f"the processes did not come together: {error}; start the same command on "
            "every machine, give --coordinator_address=HOST:PORT --num_processes=N "
            "--process_id=0...N-1, or --num_processes=1 where there is only one"
        ) from error


def _is_one_of_several() -> bool:
    """Whether this is a step of SLURM with several tasks, or a machine of a TPU pod."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS") or 1) > 1:
        return True
    platforms = os.environ.get("JAX_PLATFORMS") or "tpu"
    chips = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    if "tpu" not in platforms or not chips or not importlib.util.find_spec("libtpu"):
        return False
    if names := os.environ.get("TPU_WORKER_HOSTNAMES"):
        return len(names.split(",")) > 1
    return "TPU_SKIP_MDS_QUERY" not in os.environ  # a virtual machine of Google's


def count() -> int:
    """How many processes train together; 1 in what the first one does alone."""
    return 1 if _inside_once else services.global_state.num_processes


def index() -> int:
    """Which of them this is."""
    return services.global_state.process_id


def is_first() -> bool:
    """Whether this process is the one that reads and writes the working directory."""
    return index() == 0


def wait() -> None:
    """Return when all processes have come here."""
    if count() > 1:
        _client().wait_at_barrier(f"mtl_jax/{next(_calls)}", PATIENCE_MS)


def once(function: Callable[[], T]) -> T:
    """What `function` returns at the first process, at all of them; its MtlErrors too.

    It runs there alone, as in a single process. What it returns goes through JSON.
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
    answer = json.loads(_client().blocking_key_value_get(key, PATIENCE_MS))
    if "error" in answer:
        raise getattr(errors, answer["type"])(answer["error"])
    return answer["value"]


@contextlib.contextmanager
def at_first(context: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """`context`, which the first process enters and leaves for all."""
    with contextlib.ExitStack() as stack:
        once(lambda: stack.enter_context(context))
        yield


def in_turns(function: Callable[[], T]) -> T:
    """What `function` returns here.

    The first process is alone with it; the others follow, at most one at a time on each
    machine. An MtlError of one of them ends all.
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
        for found in exchange(problem):
            if found:
                raise errors.ProcessError(found)
    return results[0]


def check_same(values: Mapping[str, Any]) -> None:
    """ConfigError at all processes unless all give the same `values`."""
    given = [json.loads(text) for text in exchange(json.dumps(values))]
    for number, theirs in enumerate(given):
        for name in sorted({*theirs, *given[0]}):
            if theirs.get(name) != given[0].get(name):
                raise errors.ConfigError(
                    f"{name} of process {number} is {theirs.get(name)!r}, of process 0 "
                    f"{given[0].get(name)!r}: give all processes the same"
                )


def exchange(text: str) -> list[str]:
    """What each process gives, in their order, at each of them."""
    if count() == 1:
        return [text]
    key = f"mtl_jax/{next(_calls)}"
    _client().key_value_set(f"{key}/{index()}", text)
    return [
        _client().blocking_key_value_get(f"{key}/{number}", PATIENCE_MS)
        for number in range(count())
    ]


def from_first(function: Callable[[], T], like: Any) -> T:
    """The host tree that `function` returns at the first process, at all, bit for bit.

    `like` has its structure, shapes and types.
    """
    if count() == 1:
        return function()
    made: list[T] = []
    once(lambda: made.append(function()))
    here: Any = (
        made[0]
        if made
        else jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    )
    # As bytes: a sum with zeros would lose the sign of a zero.
    raw = jax.tree.map(lambda leaf: np.ravel(leaf).view(np.uint8), here)
    sent = multihost_utils.broadcast_one_to_all(raw)
    return jax.tree.map(
        lambda leaf, raw: np.asarray(raw).view(leaf.dtype).reshape(leaf.shape),
        here,
        sent,
    )


def gather(tree: Any) -> Any:
    """Host arrays [b, ...] of all processes, one after the other [B, ...], at each.

    Of an array that is spread over their devices: the whole.
    """
    if count() == 1:
        return tree
    return multihost_utils.process_allgather(tree, tiled=True)


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """A function that becomes True at the same call at every process.

    It does so soon after SIGTERM, or Ctrl-C, has come to one of them. JAX's own handler
    hears it, and its coordination service picks a call that no process has made yet.
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
        # What this program did at SIGTERM before JAX took that over.
        usual = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, usual or signal.SIG_DFL)


def _client() -> Any:
    return services.global_state.client
