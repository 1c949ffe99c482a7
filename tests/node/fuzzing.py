"""Broken PDUs: those of a sender, with bytes changed, left out or repeated."""

import contextlib
import random
import socket
import struct

from pydicom import uid
from pynetdicom import AE, evt

from tests.node import objects


def written_by_a_sender(port) -> list[bytes]:
    """The PDUs of an association that sends an image: request, object, release."""
    caught = []
    entity = AE("SCANNER")
    entity.add_requested_context(uid.CTImageStorage, [uid.ExplicitVRLittleEndian])
    handlers = [(evt.EVT_DATA_SENT, lambda event: caught.append(event.data))]
    link = entity.associate(
        "127.0.0.1", port, ae_title="MTL_JAX", evt_handlers=handlers
    )
    assert link.send_c_store(objects.ct()).Status == 0
    link.release()
    return caught


def attack(rng, port, pdus):
    """One association of which one PDU is changed."""
    broken = rng.randrange(len(pdus))
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.settimeout(0.02)
        for number, pdu in enumerate(pdus[: broken + 1]):
            with contextlib.suppress(OSError):
                link.sendall(fuzzed(rng, pdu) if number == broken else pdu)
            if number in (0, broken):  # the answer, if there is one
                with contextlib.suppress(OSError):
                    link.recv(65_536)


def fuzzed(rng: random.Random, data: bytes) -> bytes:
    """`data` with bytes changed, left out, repeated or cut off."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(changed))
        kind = rng.randrange(5)
        if kind == 0:
            changed[place] = rng.randrange(256)
        elif kind == 1:
            changed[place : place + 4] = struct.pack(">L", rng.getrandbits(32))
        elif kind == 2:
            del changed[place : place + rng.randint(1, 16)]
        elif kind == 3:
            changed[place:place] = changed[place : place + rng.randint(1, 64)]
        else:
            del changed[place + 1 :]
        if not changed:
            changed += b"\0"
    return bytes(changed)
