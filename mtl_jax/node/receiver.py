"""The DICOM server: objects from senders on the list go to the queue.

Input: C-STORE and C-ECHO requests. Output: objects in the queue, each on the disk
before it is answered with success; refusals, each counted by its reason.
"""

import logging
import secrets
import socket
import socketserver
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pynetdicom import _config, association, evt, pdu_primitives, transport
from pynetdicom import ae as dicom_ae

from mtl_jax.node import limits as node_limits
from mtl_jax.node import measurements, peers, reasons, series_queue
from mtl_jax.sources.dicom import elements, headers

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
VERIFICATION = "1.2.840.10008.1.1"  # the class of C-ECHO
# Compressed images would need decoders: senders decompress.
SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
MAX_PDU = 131_072
# PS3.8 D.3: the longest association request is far shorter than this.
_LONGEST_PDU = 8 * MAX_PDU
_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_LONGEST_UID = 64
# PS3.8 9.3.4: rejected for good, by the user: title of the caller, or of the called.
_CALLER, _CALLED = (1, 1, 3), (1, 1, 7)


class _Connection:
    """What is read from one socket, within the limits."""

    def __init__(self, reader: "Receiver", its_socket: socket.socket) -> None:
        self.name = secrets.token_hex(8)
        self._reader, self._socket = reader, its_socket
        self._limits = reader.limits
        self._began = time.monotonic()
        self._unanswered = 0  # bytes since the last answer

    def answered(self, _: evt.Event) -> None:
        self._unanswered = 0

    def receive(self, nr_bytes: int) -> bytearray:
        """The next bytes, as many as pynetdicom asks for; an OSError closes all."""
        count, now = nr_bytes, time.monotonic()
        self._unanswered += count
        # An object, and the commands and headers around it.
        if count > _LONGEST_PDU or (
            self._unanswered > self._limits.object_bytes + _LONGEST_PDU
        ):
            raise self._refused("too_large")
        ends = self._began + 60 * self._limits.association_minutes
        ends = min(ends, now + self._limits.idle_s)
        data = bytearray()
        while len(data) < count:
            left = ends - time.monotonic()
            if left <= 0:
                raise self._refused("too_slow")
            self._socket.settimeout(left)
            try:
                part = self._socket.recv(min(count - len(data), 65_536))
            except TimeoutError:
                continue
            if not part:
                break
            data += part
        self._socket.settimeout(self._limits.idle_s)
        return data

    def _refused(self, reason: str) -> OSError:
        self._reader.count_refused(reason)
        return OSError(reason)


class _Server(transport.ThreadedAssociationServer):
    """pynetdicom's server, for addresses on the list, without text of its own."""

    receiver: "Receiver"

    def verify_request(self, request: object, client_address: tuple) -> bool:
        return self.receiver.takes_connection(
            client_address[0], len(self.active_associations)
        )

    def handle_error(self, request: object, client_address: tuple) -> None:
        logger.error("a connection failed")


class Receiver:
    """The server; `start` listens, `stop` ends it."""

    def __init__(
        self,
        queue: series_queue.Queue,
        senders: Sequence[peers.Sender],
        limits: node_limits.Limits,
        figures: measurements.Measurements,
    ) -> None:
        self._queue, self._senders, self._figures = queue, senders, figures
        self.limits = limits
        self._connections: weakref.WeakKeyDictionary[
            association.Association, _Connection
        ] = weakref.WeakKeyDictionary()
        self._server: _Server | None = None

    def start(self, host: str, port: int, title: str) -> int:
        """Listen in a thread of its own; the port (as chosen by the system for 0)."""
        entity = dicom_ae.ApplicationEntity(title)
        entity.maximum_pdu_size = MAX_PDU
        entity.maximum_associations = int(self.limits.associations)
        entity.network_timeout = self.limits.idle_s
        entity.acse_timeout = entity.dimse_timeout = min(30, self.limits.idle_s)
        entity.add_supported_context(VERIFICATION)
        entity.add_supported_context(headers.CT, list(SYNTAXES))
        handlers = [
            (evt.EVT_CONN_OPEN, self._opened),
            (evt.EVT_REQUESTED, self._requested),
            (evt.EVT_REJECTED, self._rejected),
            (evt.EVT_ACSE_RECV, self._asked),
            (evt.EVT_C_STORE, self._store),
        ]  # C-ECHO is answered by pynetdicom
        server = entity.make_server(
            (host, port), evt_handlers=handlers, server_class=_Server
        )
        assert isinstance(server, _Server)
        server.receiver = self
        self._server = server
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    def stop(self) -> None:
        """End all associations, and listen no more."""
        if self._server is None:
            return
        socketserver.BaseServer.shutdown(self._server)
        for each in self._server.active_associations:
            each.abort()
        self._server.server_close()

    def takes_connection(self, address: str, connections: int) -> bool:
        """Whether one more connection from `address` is taken."""
        if not any(sender.is_at(address) for sender in self._senders):
            self.count_refused("address")
            return False
        # Beyond the limit associations are rejected in DICOM's own words.
        if connections >= 2 * self.limits.associations:
            self.count_refused("busy")
            return False
        return True

    def count_refused(self, reason: str) -> None:
        """Count and log what was refused, by its reason alone."""
        self._figures.refused.labels(reason).inc()
        logger.warning("refused: %s", reason)

    def _opened(self, event: Any) -> None:
        reader = event.assoc.dul.socket
        connection = _Connection(self, reader.socket)
        reader.recv = connection.receive
        event.assoc.bind(evt.EVT_DIMSE_SENT, connection.answered)
        self._connections[event.assoc] = connection

    def _requested(self, event: Any) -> None:
        request = event.assoc.requestor
        title = request.primitive.calling_ae_title.strip()
        wrong = None
        if not peers.find(self._senders, title, request.address):
            wrong = _CALLER
        elif request.primitive.called_ae_title.strip() != event.assoc.ae.ae_title:
            wrong = _CALLED
        if wrong:
            self.count_refused("ae_title")
            event.assoc.acse.send_reject(*wrong)
            event.assoc.kill()

    def _rejected(self, _: evt.Event) -> None:
        self.count_refused("busy")

    def _asked(self, event: Any) -> None:
        # Noted before the release is answered: after a kill its sender comes no more.
        if isinstance(event.primitive, pdu_primitives.A_RELEASE):
            self._queue.released(self._connections[event.assoc].name)

    def _store(self, event: evt.Event) -> int:
        try:
            about, uid, content = _identify(event)
            living = {
                connection.name
                for its, connection in self._connections.items()
                if its.is_alive()
            }
            own = self._connections[event.assoc].name
            new = self._queue.add(about, uid, content, own, living)
            self._figures.received.labels("new" if new else "known").inc()
            return SUCCESS
        except reasons.Refused as refused:
            reason = refused.reason
        except OSError as error:
            logger.error("an object cannot be written (%s)", error.strerror)
            reason = "disk_full"
        self.count_refused(reason)
        return reasons.OBJECTS[reason]


def _identify(event: Any) -> tuple[series_queue.About, str, bytes]:
    """The series of an object, its UID, and its file.

    Raises:
        Refused: it is no CT image, or damaged.
    """
    try:
        content = event.encoded_dataset()
        header = elements.load(
            BytesIO(content), "an object", (*_KEYWORDS, "PixelData"), pixels=True
        )
        kind, uid, study, series = (
            elements.text(header, keyword, "an object") for keyword in _KEYWORDS
        )
    # A damaged object may raise anything at all.
    except Exception:
        raise reasons.Refused("malformed") from None
    if kind != headers.CT or "PixelData" not in header:
        raise reasons.Refused("not_a_ct")
    uids = (uid, study, series)
    if not all(0 < len(each) <= _LONGEST_UID for each in uids) or (
        uid != event.request.AffectedSOPInstanceUID
    ):
        raise reasons.Refused("malformed")
    sender = event.assoc.requestor
    about = series_queue.About(
        series, study, sender.primitive.calling_ae_title.strip(), sender.address
    )
    return about, uid, content


def silence() -> None:
    """Keep pynetdicom and pydicom from writing what was received into logs.

    A thread that ends by an exception is logged by this module instead.
    """
    _config.LOG_HANDLER_LEVEL = "none"
    for name in ("pynetdicom", "pydicom"):
        # For all loggers below these two.
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore")
    threading.excepthook = _log_type


def _log_type(problem: threading.ExceptHookArgs) -> None:
    """Log an exception by its type and place: its text may be a patient's."""
    last = traceback.extract_tb(problem.exc_traceback)[-1:]
    place = f"{Path(last[0].filename).name}, line {last[0].lineno}" if last else "?"
    logger.error("%s in %s: a thread ended", problem.exc_type.__name__, place)
