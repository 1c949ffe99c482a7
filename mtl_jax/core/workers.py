"""Worker processes that run tasks and return the results in order."""

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
    """Yield `task(*a)` for each `a` of `arguments`, in order, from `workers` processes.

    At most `workers` + 1 results are in progress or waiting. With one worker, this
    process does the work itself.
    """
    if workers == 1:
        for values in arguments:
            yield task(*values)
        return
    spawn = multiprocessing.get_context("spawn")  # JAX's threads do not survive a fork
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=spawn, initializer=end_with_parent
    )
    waiting: collections.deque[concurrent.futures.Future[Any]] = collections.deque()
    try:
        for values in arguments:
            waiting.append(pool.submit(task, *values))
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
    """In a worker: exit when the process that started it has ended or was killed.

    Ctrl-C is ignored here: the terminal also sends it to that process, which reacts.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
