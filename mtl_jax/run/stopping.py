"""SIGTERM and Ctrl-C: training saves first, everything else ends at once.

Every file is written whole or not at all, so only training has something to save.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from mtl_jax.train import distributed

# Exit status of a command that a signal stopped; the same command continues.
STATUS = 75
# An exception that Python ignored is raised again after this many seconds.
RETRY_S = 0.05


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end; `except Exception` does not catch it."""


@contextlib.contextmanager
def raise_on_signal() -> Iterator[None]:
    """Raise Stopped as soon as a signal arrives.

    In a destructor, or a function that the garbage collector calls, Python ignores
    exceptions: there Stopped is raised again soon after.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise Stopped(signal.Signals(received[0]).name)

    def on_ignored(ignored: "sys.UnraisableHookArgs") -> None:
        if issubclass(ignored.exc_type, Stopped):
            signal.setitimer(signal.ITIMER_REAL, RETRY_S)
        else:
            usual(ignored)

    alarm, usual = signal.signal(signal.SIGALRM, stop), sys.unraisablehook
    sys.unraisablehook = on_ignored
    try:
        with _handled(stop):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        sys.unraisablehook = usual


@contextlib.contextmanager
def defer_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a signal arrived; at the end raise Stopped.

    With several processes, it returns True in all of them at the same call. Only the
    main thread gets signals: in another one, none arrives.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
    elif distributed.count() == 1:
        with _handled(lambda number, _: received.append(number)):
            yield lambda: bool(received)
    else:
        with distributed.synchronised_stop() as agreed:

            def stop_requested() -> bool:
                if agreed():
                    received.append(signal.SIGTERM)
                return bool(received)

            yield stop_requested
        distributed.wait()  # until the first one has saved
    if received:
        raise Stopped(signal.Signals(received[0]).name)


@contextlib.contextmanager
def _handled(handle: Callable[[int, object], None]) -> Iterator[None]:
    """Call `handle` on SIGTERM and on a first Ctrl-C; a second one acts as before.

    A second SIGTERM changes nothing: batch systems may send it twice.
    """

    def interrupted(number: int, frame: object) -> None:
        signal.signal(number, usual[number])
        handle(number, frame)

    usual: dict[int, Any] = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, handle),
        signal.SIGINT: signal.signal(signal.SIGINT, interrupted),
    }
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
