"""SIGTERM and Ctrl-C: training saves first, all else ends at once.

Every file is written whole or not at all, so that only training has something to save.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from mtl_jax.train import distributed

# With which a command ends that a signal stopped; the same one goes on from there.
STATUS = 75
# Where an exception leads nowhere, it is raised again so much later.
AGAIN_S = 0.05


class Stopped(KeyboardInterrupt):
    """A signal asked the program to end; no `except Exception` holds it up."""


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raise Stopped wherever a signal comes.

    It may come inside a destructor, or a function that the garbage collector calls:
    there Python ignores what is raised, so that it is raised again soon after.
    """
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        came.append(number)
        raise Stopped(signal.Signals(came[0]).name)

    def ignored(what: "sys.UnraisableHookArgs") -> None:
        if issubclass(what.exc_type, Stopped):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            usual(what)

    alarm, usual = signal.signal(signal.SIGALRM, stop), sys.unraisablehook
    sys.unraisablehook = ignored
    try:
        with _handled(stop):
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        sys.unraisablehook = usual


@contextlib.contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """A function that says whether a signal has come; at the end it is raised.

    Of several processes it says so to all at the same call.
    """
    came: list[int] = []
    if distributed.count() == 1:
        with _handled(lambda number, _: came.append(number)):
            yield lambda: bool(came)
    else:
        with distributed.asked_to_stop() as agreed:

            def asked() -> bool:
                if agreed():
                    came.append(signal.SIGTERM)
                return bool(came)

            yield asked
        distributed.wait()  # until the first one has saved
    if came:
        raise Stopped(signal.Signals(came[0]).name)


@contextlib.contextmanager
def _handled(handle: Callable[[int, object], None]) -> Iterator[None]:
    """Call `handle` at SIGTERM and at a first Ctrl-C; a second does what it did before.

    A second SIGTERM is no sign of haste: batch systems may send it twice.
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
