"""Sends the results to the archive, and deletes what is old.

Input: the series that are to be sent. Output: their RTSTRUCT and RTDOSE in the archive.
A file that the archive took is renamed at once. If the node is killed between the
archive's answer and this rename, the same object is sent again, with the same
SOPInstanceUID, of which an archive keeps one.
"""

import logging
import os
import time
from pathlib import Path

from pynetdicom import ae as dicom_ae
from pynetdicom import association

from mtl_jax.core import files
from mtl_jax.node import limits as node_limits
from mtl_jax.node import measurements, peers, series_queue
from mtl_jax.predict import dicom_files
from mtl_jax.sources.dicom import headers

logger = logging.getLogger(__name__)

# All archives take it (PS3.5 10.1), and long contours do not fit into an explicit VR.
IMPLICIT = "1.2.840.10008.1.2"
KINDS = {
    dicom_files.STRUCTURES: headers.STRUCTURE_SET,
    dicom_files.DOSE: headers.DOSE,
}
SENT = ".sent"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0
_TIMEOUT_S = 60


class Deliveries:
    """Rounds of sending and deleting."""

    def __init__(
        self,
        queue: series_queue.Queue,
        archive: peers.Archive | None,
        title: str,
        limits: node_limits.Limits,
        figures: measurements.Measurements,
    ) -> None:
        self._queue, self._archive, self._title = queue, archive, title
        self._limits, self._figures = limits, figures
        self._next, self._pause_s = 0.0, FIRST_PAUSE_S

    def round(self) -> None:
        """Send what is to be sent, unless that failed just now; delete what is old."""
        folders = self._queue.folders(series_queue.SENDING)
        if self._archive is not None and folders and time.monotonic() >= self._next:
            if self._send(folders, self._archive):
                self._next, self._pause_s = 0.0, FIRST_PAUSE_S
            else:
                self._figures.not_sent.inc()
                logger.warning("not sent: again in %.0f s", self._pause_s)
                self._next = time.monotonic() + self._pause_s
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        for name in self._queue.expire(time.time()):
            self._figures.refused.labels("undelivered").inc()
            logger.error("%s: deleted: undelivered", name)

    def _send(self, folders: list[Path], archive: peers.Archive) -> bool:
        """Send the results of series over one association; whether all were taken."""
        entity = dicom_ae.ApplicationEntity(self._title)
        entity.connection_timeout = entity.acse_timeout = _TIMEOUT_S
        entity.dimse_timeout = entity.network_timeout = _TIMEOUT_S
        for kind in KINDS.values():
            entity.add_requested_context(kind, IMPLICIT)
        link = entity.associate(archive.host, archive.port, ae_title=archive.title)
        if not link.is_established:
            return False
        try:
            # Each series for itself: one that the archive refuses holds up no other.
            return all([self._send_series(folder, link) for folder in folders])
        finally:
            if link.is_established:
                link.release()

    def _send_series(self, folder: Path, link: association.Association) -> bool:
        result = folder / series_queue.RESULT
        unsent = [result / name for name in KINDS if (result / name).exists()]
        for path in unsent:
            if not self._send_file(path, link):
                return False
        self._queue.sent(folder)
        logger.info("%s: sent", folder.name)
        return True

    def _send_file(self, path: Path, link: association.Association) -> bool:
        try:
            status = link.send_c_store(path)
        except (ValueError, RuntimeError):  # no context for it, or no association
            return False
        # PS3.4 B.2.3: Bxxx is stored, with a warning.
        if (
            "Status" not in status
            or status.Status >> 12 not in (0x0, 0xB)
            or (0 < status.Status < 0xB000)
        ):
            return False
        os.replace(path, sent(path))
        files.sync(path.parent)
        self._figures.sent.inc()
        return True


def sent(path: Path) -> Path:
    """The name of a file that the archive has."""
    return path.with_name(f"{path.stem}{SENT}{path.suffix}")
