"""Worker processes that do one task after the other, and hand back results in order."""

import collections
import concurrent.futures
import concurrent.futures.process
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

from mtl_jax.core import errors


def in_order(
    task: Callable[..., Any], arguments: Iterator[tuple[Any, ...]], workers: int
) -> Generator[Any]:
    """`task` of each of `arguments`, in order, by `workers` processes.

    At most `workers` + 1 are under way or waiting to be taken. One worker is this
    process itself.
    """
    if workers == 1:
        for each in arguments:
            yield task(*each)
        return
    spawn = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=spawn, initializer=end_with_parent
    )
    waiting: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
    try:
        for each in arguments:
            waiting.append(pool.submit(task, *each))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise errors.DatasetError(
            f"a worker process died ({error}); give it more memory, or use workers=1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """In a worker: end when the process that started it is gone, killed perhaps.

    Ctrl-C, which a terminal sends to both, is left to that process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
