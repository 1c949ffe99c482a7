"""The node as a whole: a loop in a thread for each job, and whether each is well.

Input: what the node is made of. Output: a node that runs until it is stopped.
"""

import logging
import shutil
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

# After a failure, such as a full disk.
FAILED_PAUSE_S = 10.0

logger = logging.getLogger(__name__)


class Loop:
    """Calls a function again and again, and survives what it raises."""

    def __init__(
        self, name: str, call: Callable[[], object], every_s: float, late_s: float
    ) -> None:
        """`late_s`: a call that takes longer is a problem."""
        self.name, self._call = name, call
        self._every_s, self._late_s = every_s, late_s
        self._well, self._since = True, time.monotonic()

    def start(self) -> None:
        """Run in a thread of its own, which ends with the process."""
        threading.Thread(target=self.run, name=self.name, daemon=True).start()

    def run(self) -> None:
        """Run for ever."""
        while True:
            if not self.once():
                time.sleep(self._every_s if self._well else FAILED_PAUSE_S)

    def once(self) -> bool:
        """Call the function; whether it wants to be called again at once."""
        self._since = time.monotonic()
        try:
            again = bool(self._call())
            self._well = True
        # Whatever it is, the other jobs go on, and /health tells.
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            # Without its text, which may be a patient's.
            logger.error(
                "%s: %s in %s, line %s",
                *(self.name, type(error).__name__),
                *(Path(last.filename).name, last.lineno),
            )
            self._well, again = False, False
        return again

    @property
    def is_well(self) -> bool:
        """Whether the last call succeeded, and this one is not late."""
        return self._well and time.monotonic() - self._since < self._late_s


def problems(loops: list[Loop], home: Path, free_gb: float) -> list[str]:
    """The names of the loops that are not well, and `disk` if it is full."""
    names = [loop.name for loop in loops if not loop.is_well]
    if shutil.disk_usage(home).free < 1e9 * free_gb:
        names.append("disk")
    return names
