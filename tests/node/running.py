"""A node as a process, and senders and an archive to try it with."""

import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter

import pydicom
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    RTDoseStorage,
    RTStructureSetStorage,
)

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
# Seconds after which a test that waits has failed, on a busy machine.
PATIENCE = 600.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, what, patience=PATIENCE):
    """The first value of `condition()` that is true."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if value := condition():
                return value
        time.sleep(0.05)
    raise AssertionError(f"waited in vain: {what}")


class Node:
    """`python -m mtl_jax.node` on ports of its own; started again with `start`."""

    def __init__(self, checkpoint, state: pathlib.Path, *flags, prefix=()):
        self.state, self.port, self.web = state, free_port(), free_port()
        self.log = state.with_name(f"{state.name}.log")
        self._line = [
            *prefix,
            *(sys.executable, "-m", "mtl_jax.node", f"--checkpoint={checkpoint}"),
            *(f"--state={state}", f"--port={self.port}", f"--web_port={self.web}"),
            *("--free_gb=0.001", "--quiet_s=1", *flags),
        ]
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._line, stdout=log, stderr=log)
        wait_for(self._listens, "the node to listen")
        return self

    def _listens(self):
        assert self.process.poll() is None, self.log.read_text()
        return self.get("/health")

    def get(self, path: str) -> bytes:
        """What the web server answers, whatever its status."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web}{path}") as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            return error.read()

    def health(self) -> dict:
        return json.loads(self.get("/health"))

    def series(self, state: str) -> int:
        return self.health()["series"][state]

    def figure(self, name: str) -> float:
        for line in self.get("/metrics").decode().splitlines():
            if line.startswith(f"mtl_jax_node_{name} "):
                return float(line.split()[-1])
        raise KeyError(name)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=60)


def connect(port, calling="SCANNER", called="MTL_JAX"):
    """An association with the node."""
    entity = AE(calling)
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.add_requested_context(CTImageStorage, [EXPLICIT])
    return entity.associate("127.0.0.1", port, ae_title=called)


def send(port, paths, **titles) -> list[int]:
    """Send files over one association; the statuses, 0 where none came."""
    link = connect(port, **titles)
    assert link.is_established
    statuses = [link.send_c_store(path).get("Status", -1) for path in paths]
    link.release()
    assert link.is_released
    return statuses


def ct_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob("CT*"))


class Archive:
    """Takes RTSTRUCT and RTDOSE, and remembers how often each came."""

    def __init__(self):
        self.counts: Counter[str] = Counter()
        self.objects: dict[str, pydicom.Dataset] = {}
        self.status = 0x0000
        self.port = free_port()
        self._lock = threading.Lock()
        entity = AE("ARCHIVE")
        for kind in (RTStructureSetStorage, RTDoseStorage):
            entity.add_supported_context(kind)
        self.server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, self._store)],
        )

    @property
    def flag(self) -> str:
        return f"--send_to=127.0.0.1:{self.port},ARCHIVE"

    def _store(self, event) -> int:
        with self._lock:
            if self.status == 0x0000:
                dataset = event.dataset
                self.counts[dataset.SOPInstanceUID] += 1
                self.objects[dataset.SOPInstanceUID] = dataset
            return self.status

    def of_study(self, study: str) -> list[str]:
        """The modalities that came of a study."""
        with self._lock:
            return sorted(
                each.Modality
                for each in self.objects.values()
                if each.StudyInstanceUID == study
            )
