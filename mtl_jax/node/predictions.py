"""Predicts the series that wait, one after the other, with the code of `predict`.

Input: a series' folder. Output: its results in it, or the reason why there are none.
"""

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mtl_jax.core import errors, files
from mtl_jax.node import limits as node_limits
from mtl_jax.node import measurements, series_queue
from mtl_jax.predict import cases, output_files, patient_loop, trained_model
from mtl_jax.run import workdir
from mtl_jax.sources.clinical import dicom_patient

logger = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskError(errors.OutputError):
    """The results of a series cannot be written now."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"a file cannot be read or written ({error.strerror})")
        self.is_full = error.errno in _FULL


class Predictions:
    """Takes series from the queue, and puts them back with their results."""

    def __init__(
        self,
        queue: series_queue.Queue,
        network: trained_model.Network,
        reading: cases.ReadingOptions,
        limits: node_limits.Limits,
        figures: measurements.Measurements,
        next_state: str,
    ) -> None:
        self._queue, self._network, self._reading = queue, network, reading
        self._limits, self._figures = limits, figures
        self._next_state = next_state

    def predict_next(self) -> bool:
        """Predict the series that has waited longest; False if none waits."""
        folder = self._queue.start()
        if folder is None:
            return False
        if series_queue.count_attempt(folder) >= self._limits.attempts:
            self._refuse(folder, "attempts")
            return True
        began = time.monotonic()
        try:
            with _at_most(60 * self._limits.predict_minutes), dicom_patient.guarded():
                self._predict(folder)
        except DiskError as error:
            if error.is_full:  # no fault of the series
                series_queue.undo_attempt(folder)
            self._queue.put_back()
            raise
        except KeyboardInterrupt:  # stopped by a signal: no fault of the series
            series_queue.undo_attempt(folder)
            raise
        except errors.MtlError as error:
            self._refuse(folder, "reader", str(error))
            return True
        seconds = time.monotonic() - began
        self._figures.seconds.observe(seconds)
        self._queue.finish(folder, self._next_state)
        logger.info("%s: predicted in %.1f s", folder.name, seconds)
        return True

    def _predict(self, folder: Path) -> None:
        # `result` is the name that the loop over patients gives a patient's folder.
        case = cases.CaseFolder(folder / series_queue.CT, "dicom", series_queue.RESULT)
        formats = output_files.Formats(dicom=True, nifti=False, plan=None)
        request = patient_loop.Request(
            self._network.model, folder, self._reading, None, None, formats
        )
        files.settle_folder(request.folder(case))  # what a killed node left
        warned: list[str] = []
        try:
            patient_loop.predict_patient(
                request, case, request.basis(case), self._network, warned.append
            )
        except OSError as error:
            raise DiskError(error) from None
        said = workdir.read_json(folder / series_queue.RESULT / output_files.STATISTICS)
        if said[output_files.FAILURES]:
            self._figures.checks_failed.inc()
        if warned:
            logger.info("%s: %d warnings: see its page", folder.name, len(warned))

    def _refuse(self, folder: Path, reason: str, message: str = "") -> None:
        self._queue.refuse(folder, reason, message)
        self._figures.refused.labels(reason).inc()
        logger.warning("%s: refused: %s", folder.name, reason)


@contextlib.contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """End the process if the block takes longer; whoever supervises it starts it anew.

    Nothing else ends a thread that is in foreign code.
    """
    timer = threading.Timer(seconds, _give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _give_up() -> None:
    logger.error("a prediction takes too long: the node ends")
    os._exit(1)
