"""Which of the incoming series are whole.

Input: the incoming series. Output: those that are whole wait for their prediction;
those that stay incomplete are refused. A series is whole if its sender has as many
images of it as arrived; where the sender does not say how many, if every association
that brought some was released and nothing more came for a while.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pynetdicom import ae as dicom_ae

from mtl_jax.node import limits as node_limits
from mtl_jax.node import measurements, peers, series_queue
from mtl_jax.sources.dicom import elements

logger = logging.getLogger(__name__)

# Study Root Query/Retrieve Information Model: FIND (PS3.4 C.6.2).
_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = (0xFF00, 0xFF01)
_TIMEOUT_S = 10
_ASK_AGAIN_S = 30.0


class Arrivals:
    """Looks at the incoming series, again and again."""

    def __init__(
        self,
        queue: series_queue.Queue,
        senders: Sequence[peers.Sender],
        title: str,
        limits: node_limits.Limits,
        figures: measurements.Measurements,
    ) -> None:
        self._queue, self._senders, self._title = queue, senders, title
        self._limits, self._figures = limits, figures
        self._started = time.time()
        # What a sender answered: when it was asked, and with how many objects here.
        self._answers: dict[str, tuple[float, int, int | None]] = {}

    def look(self) -> None:
        """Move on the series that are whole, or have been incomplete for too long."""
        folders = self._queue.folders(series_queue.INCOMING)
        names = {folder.name for folder in folders}
        self._answers = {n: a for n, a in self._answers.items() if n in names}
        for folder in folders:
            # After a restart a sender gets time to go on.
            since = max(series_queue.last_object(folder), self._started)
            quiet_s = time.time() - since
            objects = series_queue.count(folder)
            if self._is_whole(folder, objects, quiet_s):
                if self._queue.whole(folder.name, objects):
                    logger.info("%s: %d objects, waiting", folder.name, objects)
            elif quiet_s >= self._limits.incomplete_s:
                self._queue.refuse(folder, "incomplete")
                self._figures.refused.labels("incomplete").inc()
                logger.warning("%s: refused: incomplete", folder.name)

    def _is_whole(self, folder: Path, objects: int, quiet_s: float) -> bool:
        finished = series_queue.is_finished(folder)
        quiet = quiet_s >= self._limits.quiet_s
        if not objects or not (finished or quiet):
            return False
        expected = self._expected(folder, objects)
        if expected is None:
            return finished and quiet
        return objects >= expected

    def _expected(self, folder: Path, objects: int) -> int | None:
        """How many images the sender has; None if it does not say."""
        when, then, answer = self._answers.get(folder.name, (0.0, -1, None))
        now = time.monotonic()
        if objects != then or now - when > _ASK_AGAIN_S:
            about = series_queue.about(folder)
            sender = peers.find(self._senders, about.sender, about.address)
            port = sender.find_port if sender else None
            if port is None:
                return None
            answer = ask(about, port, self._title)
            self._answers[folder.name] = (now, objects, answer)
        return answer


def ask(about: series_queue.About, port: int, title: str) -> int | None:
    """NumberOfSeriesRelatedInstances at the sender; None without an answer."""
    entity = dicom_ae.ApplicationEntity(title)
    entity.connection_timeout = entity.acse_timeout = _TIMEOUT_S
    entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
    entity.add_requested_context(_FIND)
    link = entity.associate(about.address, port, ae_title=about.sender)
    if not link.is_established:
        return None
    query = pydicom.Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID, query.SeriesInstanceUID = about.study, about.series
    query.NumberOfSeriesRelatedInstances = None
    count = 0
    try:  # to the last answer, or the release comes in between
        for status, found in link.send_c_find(query, _FIND):
            if "Status" in status and status.Status in _PENDING and found is not None:
                name = "NumberOfSeriesRelatedInstances"
                (number,) = elements.numbers(found, name, "an answer") or (0.0,)
                count = int(number)
    except (ValueError, RuntimeError):  # the answer is no answer
        return None
    finally:
        if link.is_established:
            link.release()
    return count or None
