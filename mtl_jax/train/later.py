"""Work that follows a training step and does not hold up the next ones.

Input: what to read off the device, and what to do with it. Output: the same calls, in
the same order, some steps later. JAX returns from a step before the device has made it;
whoever then reads a result waits for the device, and leaves it without further steps.
"""

from collections import deque
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

import jax

from mtl_jax.train import distributed

T = TypeVar("T")

# Steps that may wait for the device: enough to cover a pause of the host, few enough
# that a signal is answered soon. To mark a step costs the host some time.
AHEAD, MARK_EVERY = 10, 5
# Reads at a time: a slow one must not delay the time of a log line.
READERS = 4


class Later:
    """Reads in threads, as soon as the device has the values; writes when asked.

    Writing happens in the order of `add`, in the thread that calls `catch_up`. So what
    is written, and after what an error ends the run, does not depend on the device's
    speed.
    """

    def __init__(self) -> None:
        self._readers = futures.ThreadPoolExecutor(READERS)
        self._waiting: deque[tuple[futures.Future[Any], Callable[[Any], None]]] = (
            deque()
        )

    def add(self, read: Callable[[], T], write: Callable[[T], None]) -> None:
        """Start `read` in a thread; a later `catch_up` calls `write` with its result.

        `read` communicates with no other process; `write` may.
        """
        self._waiting.append((self._readers.submit(read), write))

    def catch_up(self, *, wait: bool) -> None:
        """Write what has been read; with `wait` all that was added.

        What a read raised is raised here. Several processes always wait, so that all
        write the same.
        """
        wait = wait or distributed.count() > 1
        while self._waiting and (wait or self._waiting[0][0].done()):
            result, write = self._waiting.popleft()
            write(result.result())

    def close(self) -> None:
        """Drop what was not written, after an error."""
        self._readers.shutdown(wait=False, cancel_futures=True)


class Aside:
    """One piece of work at a time, in a thread; what it raises, `wait` raises."""

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(1)
        self._running: futures.Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Start `work` after the one before has ended."""
        self.wait()
        self._running = self._thread.submit(work)

    def wait(self) -> None:
        """Return when nothing runs."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def close(self) -> None:
        """As `wait`; nothing is started after that."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()


class Ahead:
    """Keeps the host less than AHEAD + MARK_EVERY steps ahead of the device."""

    def __init__(self) -> None:
        self._steps = 0
        self._marks: deque[Any] = deque()

    def step(self, mark: Callable[[], Any]) -> None:
        """Count a step; now and then wait for an earlier one.

        `mark` returns an array that this step makes and the next ones do not overwrite.
        """
        self._steps += 1
        if self._steps % MARK_EVERY == 0:
            self._marks.append(mark())
            if len(self._marks) > AHEAD // MARK_EVERY:
                jax.block_until_ready(self._marks.popleft())
