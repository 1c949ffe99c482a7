"""A node under load: many series, senders at once, kills, broken PDUs.

    python -m tests.node.soak --home=DIR [--series=200] [--slices=120] [--size=64]
        [--senders=4] [--kills=20] [--pdus=10000] [--seed=0] [--checkpoint=DIR|NAME]

Senders repeat a series until all of it is answered with success, as archives do. The
node is killed (SIGKILL) at random moments and started again. At the end each series
must have come back as one RTSTRUCT and one RTDOSE. An object that came twice with one
UID is told; with two UIDs it is an error. Exit status: 0 all came back, none twice; 1
not so.
"""

import argparse
import logging
import pathlib
import queue
import random
import sys
import threading
import time

import pydicom

from mtl_jax.sources.phantom import dicom_images, male_pelvis
from tests.node import fuzzing, running
from tests.predict import checkpoints

# What a phantom's scan covers, (z, y, x).
EXTENT_MM = (360.0, 448.0, 448.0)
# A kill comes so long after the node is ready, at most.
LONGEST_LIFE_S = 20.0


def parse_flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.node.soak")
    parser.add_argument("--home", type=pathlib.Path, required=True)
    for name, default in (
        ("series", 200), ("slices", 120), ("size", 64), ("senders", 4),
        ("kills", 20), ("pdus", 10_000), ("seed", 0), ("patience_s", 7200),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--checkpoint", help="default: a tiny network by chance")
    return parser.parse_args()


class Senders:
    """Threads that send series until the node has taken each."""

    def __init__(self, port: int, pelvis: male_pelvis.Pelvis, series: int) -> None:
        self._port, self._pelvis = port, pelvis
        self._open: queue.Queue[int] = queue.Queue()
        for number in range(series):
            self._open.put(number)
        self.taken = self.broken = 0

    def start(self, count: int) -> None:
        for _ in range(count):
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                number = self._open.get_nowait()
            except queue.Empty:
                return
            images = list(slices(self._pelvis, number))
            while not self._send(images):
                self.broken += 1
                time.sleep(0.5)
            self.taken += 1

    def _send(self, images) -> bool:
        try:
            return set(running.send(self._port, images)) == {0}
        except (AssertionError, RuntimeError, ValueError, OSError):
            return False  # the node is away, or went away


def identity(number: int) -> dicom_images.Identity:
    return dicom_images.Identity(f"SOAK{number}", "HFS", "tg263")


def slices(pelvis: male_pelvis.Pelvis, number: int):
    """The images of series `number`, ready to be sent."""
    for image in dicom_images.ct_slices(pelvis, identity(number)):
        image.file_meta = pydicom.dataset.FileMetaDataset()
        image.file_meta.TransferSyntaxUID = running.EXPLICIT
        yield image


def run(flags: argparse.Namespace) -> int:
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # kills are usual
    flags.home.mkdir(parents=True)
    made = flags.checkpoint or checkpoints.write(flags.home / "m", "multi", "prostate")
    shape = (flags.slices, flags.size, flags.size)
    spacing = tuple(mm / n for mm, n in zip(EXTENT_MM, shape, strict=True))
    pelvis = male_pelvis.make_pelvis(0, 0, shape=shape, spacing_mm=spacing)
    archive, rng = running.Archive(), random.Random(flags.seed)
    node = running.Node(
        made,
        flags.home / "state",
        archive.flag,
        "--attempts=100",
        "--idle_s=10",
        "--associations=50",
    ).start()
    began = time.monotonic()
    senders = Senders(node.port, pelvis, flags.series)
    senders.start(flags.senders)
    studies = [str(identity(n).uid("study")) for n in range(flags.series)]
    kills = 0
    while kills < flags.kills:
        time.sleep(rng.uniform(0, LONGEST_LIFE_S))
        moment = {s: n for s, n in node.health()["series"].items() if n}
        node.kill()
        kills += 1
        print(f"kill {kills}: {moment}", flush=True)
        node.start()
    running.wait_for(
        lambda: node.series("done") == flags.series,
        "all series",
        flags.patience_s,
    )
    seconds = time.monotonic() - began
    fuzz(node, flags.pdus, rng)
    health = node.health()
    node.stop()
    print(
        f"{flags.series} series of {shape} from {flags.senders} senders, {kills} kills"
    )
    print(f"taken {senders.taken}, transfers broken off {senders.broken}")
    print(f"{seconds:.0f} s; health afterwards: {health['problems'] or 'no problems'}")
    return judge(archive, studies)


def fuzz(node: running.Node, pdus: int, rng: random.Random) -> None:
    """Broken PDUs, at the end a sound one."""
    if pdus:
        sound = fuzzing.written_by_a_sender(node.port)
        for _ in range(pdus):
            fuzzing.attack(rng, node.port, sound)
    link = running.wait_for(lambda: established(node.port), "an association")
    answer = link.send_c_echo().Status
    link.release()
    print(f"{pdus} broken PDUs; C-ECHO afterwards: {answer:04x}")


def established(port: int):
    """An association; None while the node still ends broken ones."""
    link = running.connect(port)
    return link if link.is_established else None


def judge(archive: running.Archive, studies: list[str]) -> int:
    """Print what came back of each study; the exit status."""
    came = [archive.of_study(study) for study in studies]
    lost = sum(len(set(each)) < 2 for each in came)
    twice = sum(len(each) > 2 for each in came)
    repeated = sum(count - 1 for count in archive.counts.values())
    print(f"lost {lost}, sent twice under two UIDs {twice}, under one UID {repeated}")
    return 1 if lost or twice else 0


if __name__ == "__main__":
    sys.exit(run(parse_flags()))
