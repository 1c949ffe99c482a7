"""Who may send to the node, and where its results go.

Input: the values of the flags `--allow` and `--send_to`. Output: a Sender for each that
may send, and the Archive.
"""

import dataclasses
import ipaddress
import re
from collections.abc import Iterable

ANY = "*"  # every AE title, allowed from this machine only
# PS3.5 6.2: at most 16 characters, no backslash, no control character.
_TITLE = re.compile(r"(?=.*\S)[^\\\x00-\x1f\x7f-\U0010ffff]{1,16}")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclasses.dataclass(frozen=True)
class Sender:
    """An AE title, and the addresses from which it may send."""

    title: str
    network: Network
    find_port: int | None  # where it answers C-FIND; None: it is not asked

    def is_at(self, address: str) -> bool:
        """Whether `address` is one of its own."""
        return _plain(address) in self.network


@dataclasses.dataclass(frozen=True)
class Archive:
    """Where results are sent."""

    host: str
    port: int
    title: str


THIS_MACHINE = tuple(
    Sender(ANY, ipaddress.ip_network(network), None)
    for network in ("127.0.0.0/8", "::1")
)


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """`address`; the IPv4 one if it is that within IPv6."""
    parsed = ipaddress.ip_address(address.split("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return mapped or parsed


def is_this_machine(host: str) -> bool:
    """Whether only programs on this machine reach `host`."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def find(senders: Iterable[Sender], title: str, address: str) -> Sender | None:
    """The sender with this title and address; None if there is none."""
    matches = (
        sender
        for sender in senders
        if sender.title in (ANY, title) and sender.is_at(address)
    )
    return next(matches, None)


def parse_title(text: str) -> str:
    """An AE title; a ValueError if it is none."""
    if not _TITLE.fullmatch(text):
        raise ValueError(f"{text!r} is no AE title: expected 1 to 16 characters")
    return text.strip()


def parse_sender(text: str) -> Sender:
    """`AE@ADDRESS[:PORT]`; a ValueError if it is wrong.

    ADDRESS is an IP address or a network such as 10.1.2.0/24; an IPv6 address stands in
    brackets. PORT is where the sender answers C-FIND.
    """
    title, _, place = text.rpartition("@")
    match = re.fullmatch(r"(?:\[([^]]+)\]|([^:]+))(?::(\d{1,5}))?", place)
    if not match:
        raise ValueError(f"{text!r}: expected AE@ADDRESS[:PORT]")
    network = ipaddress.ip_network(match[1] or match[2], strict=False)
    if title != ANY:
        title = parse_title(title)
    elif not network.is_loopback:
        raise ValueError(f"{text!r}: any AE title is allowed from this machine only")
    return Sender(title, network, parse_port(match[3]) if match[3] else None)


def parse_archive(text: str) -> Archive:
    """`HOST:PORT,AE`; a ValueError if it is wrong."""
    match = re.fullmatch(r"(?:\[([^]]+)\]|([^:,]+)):(\d{1,5}),(.*)", text)
    if not match:
        raise ValueError(f"{text!r}: expected HOST:PORT,AE")
    return Archive(match[1] or match[2], parse_port(match[3]), parse_title(match[4]))


def parse_port(text: str) -> int:
    """A port; a ValueError if it is none."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError(f"{text!r} is no port")
    return int(text)
