"""Kills a command at random moments, again and again: it ends as one left alone.

    python -m tests.faults.soak --home=DIR [--kills=50] [--seed=0] [--seconds=270]

A round is a data set built, networks trained and a study written, by the smallest
configuration there is, in a process that is killed (SIGKILL) and started again until it
has had its share of kills and ends by itself. What it leaves is then compared with what
an undisturbed round has left, bit for bit. Started again with the same --home, the soak
goes on; it stops by itself after --seconds. Exit status: 0 enough kills, and all rounds
the same; 1 a round that differs, or that failed; 75 to be continued.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mtl_jax.core import files
from mtl_jax.train import checkpoint, writers
from tests import commands

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = ("contour", "seq_auto")
SETTINGS = {
    "module": "study",
    "train__steps": 8,
    "train__checkpoint_every": 2,
    "train__validate_every": 4,
    "train__images_every": 8,
    "dwa__interval_steps": 4,
}
# Seconds that a round may take to end, and that a soak keeps back for a process.
ROUND_S, RESERVE_S = 300, 30


@dataclasses.dataclass(frozen=True)
class Round:
    """One round's folders: data, and the home of a study."""

    folder: pathlib.Path

    @property
    def data(self) -> pathlib.Path:
        return self.folder / "data"

    @property
    def study(self) -> pathlib.Path:
        return self.folder / "study"

    def seen(self, *patterns: str) -> frozenset[tuple[str, int]]:
        """Paths of `patterns` inside the folder, with their sizes."""
        found = set()
        for pattern in patterns:
            for path in self.folder.glob(pattern):
                try:
                    found.add((str(path), path.stat().st_size))
                except FileNotFoundError:
                    found.add((str(path), -1))
        return frozenset(found)

    def has(self, *patterns: str) -> bool:
        """Whether there is a path for each of `patterns`."""
        return all(any(self.folder.glob(pattern)) for pattern in patterns)


@dataclasses.dataclass(frozen=True)
class Place:
    """A part of a round: what shows that a process is in it, and how long it takes."""

    signs: tuple[str, ...]  # one of them appears or changes
    seconds: float  # then so long at most, until the kill
    over: tuple[str, ...] = ()  # all are there: no process comes here any more


def places(roles: tuple[str, ...]) -> dict[str, Place]:
    """The parts of a round that trains `roles`, more or less in their order."""
    evaluated = tuple(f"study/{role}/evaluation/test.json" for role in roles)
    found = {
        "phantoms": Place(("data/.phantom-*",), 0.5, ("data/phantom/phantom.json",)),
        "build": Place(
            ("data/openkbp/phantom/incomplete.*",), 0.5, ("data/openkbp/phantom/1.0.0",)
        ),
        "training": Place(("study/*/metrics.jsonl",), 0.5, evaluated),
        "checkpoint": Place(("study/*/checkpoints/*tmp*",), 0.04, evaluated),
        "contours": Place(
            ("study/contour/contours/*/*/*",), 0.2, ("study/seq_auto/contours.json",)
        ),
        "evaluation": Place(
            ("study/*/predictions/*/*", "study/*/evaluation/*"), 0.5, evaluated
        ),
        "anywhere": Place((), 8.0),
        "report": Place(("study/study/test/*/*", "study/study/test/*"), 1.0),
    }
    if "seq_auto" not in roles:
        del found["contours"]
    return found


def outcome(
    study: pathlib.Path, data: pathlib.Path, roles: tuple[str, ...], *, tables: bool
) -> dict[str, str]:
    """A digest of each thing that has to be the same, by its path."""
    found = {}
    patterns = ["study/test/tables/*", "study/test/rows.csv"] if tables else []
    if "seq_auto" in roles:
        patterns += ["contour/contours/*/*/*.npy"]
    for role in roles:
        step = checkpoint.steps(study / role / "checkpoints")[-1]
        run = checkpoint.read_run(study / role / "checkpoints" / str(step))
        found[f"{role}/step"], found[f"{role}/state"] = str(step), run["digest"]
        rows = [
            {key: value for key, value in row.items() if key not in writers.TIMING}
            for row in writers.read_json_lines(study / role / "metrics.jsonl")
        ]
        found[f"{role}/metrics"] = _digest(json.dumps(rows).encode())
        patterns += [f"{role}/predictions/test/*", f"{role}/evaluation/*.csv"]
    for pattern in patterns:
        for path in study.glob(pattern):
            found[path.relative_to(study).as_posix()] = _digest(path.read_bytes())
    (index,) = data.glob("openkbp/phantom/*/metadata.json")
    return found | {"data": json.loads(index.read_text())["fingerprint"]}


def leftovers(done: Round) -> list[str]:
    """What killed processes have left behind, which a later one should have removed."""
    patterns = ("**/*tmp*", "data/.phantom-*", "data/**/incomplete.*", "**/.lock")
    return sorted(path for path, _ in done.seen(*patterns))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclasses.dataclass
class Soak:
    """A soak in its folder; `state` is all that it knows, and kept there."""

    home: pathlib.Path
    seed: int
    roles: tuple[str, ...] = ROLES
    tables: bool = True  # whether those of the study are compared too
    settings: Mapping[str, Any] = dataclasses.field(default_factory=lambda: SETTINGS)

    def __post_init__(self) -> None:
        self.file = self.home / "soak.json"
        self.places = places(self.roles)
        self.state = {"kills": [], "rounds": [], "expected": None, "round_kills": 0}
        if self.file.exists():
            self.state = json.loads(self.file.read_text())

    def _save(self) -> None:
        with files.whole(self.file) as partial:
            partial.write_text(json.dumps(self.state, indent=1) + "\n")

    def run(self, kills: int, seconds: float) -> int:
        """Go on for `seconds` or until there were `kills`; the exit status."""
        end = time.monotonic() + seconds
        if self.state["expected"] is None:
            self.leave_alone()
        while time.monotonic() < end - RESERVE_S:
            self._step(kills)
            if self.state["rounds"] and self.state["rounds"][-1]["different"]:
                return 1
            if len(self.state["kills"]) >= kills and not self.state["round_kills"]:
                return 0
        return 75

    def outcome(self, done: Round) -> dict[str, str]:
        """What is compared of a round that has ended."""
        return outcome(done.study, done.data, self.roles, tables=self.tables)

    def leave_alone(self) -> None:
        """The round that the others are compared with."""
        whole = Round(self.home / "undisturbed")
        shutil.rmtree(whole.folder, ignore_errors=True)
        self._start(whole, None)
        self.state["expected"] = self.outcome(whole)
        self._save()

    def _step(self, kills: int) -> None:
        """One process: killed at a random place, or left to end its round."""
        number, had = len(self.state["rounds"]), self.state["round_kills"]
        rng = np.random.default_rng([self.seed, number, had, len(self.state["kills"])])
        share = np.random.default_rng([self.seed, number]).integers(6, 13)
        this = Round(self.home / f"round-{number}")
        place = None
        if had < share and len(self.state["kills"]) < kills:
            place = self._choose(this, rng)
        self.go_on(place, rng)

    def go_on(self, place: str | None, rng: np.random.Generator) -> None:
        """Start a process, which is killed in `place`; None: it ends its round."""
        number = len(self.state["rounds"])
        this = Round(self.home / f"round-{number}")
        how = self._start(this, place, rng)
        if how == "killed":
            self.state["kills"].append(place)
            self.state["round_kills"] += 1
            print(f"round {number}: kill {len(self.state['kills'])}, {place}")
        else:
            self._compare(this, number)
        self._save()

    def _choose(self, this: Round, rng: np.random.Generator) -> str:
        """One of the places that the round still comes to, more likely an early one."""
        ahead = [
            n for n, p in self.places.items() if not (p.over and this.has(*p.over))
        ]
        weights = 0.6 ** np.arange(len(ahead))
        return str(rng.choice(ahead, p=weights / weights.sum()))

    def _compare(self, this: Round, number: int) -> None:
        found, expected = self.outcome(this), self.state["expected"]
        names = sorted({*found, *expected})
        different = [n for n in names if found.get(n) != expected.get(n)]
        different += leftovers(this)
        kills = self.state["round_kills"]
        self.state["rounds"].append({"kills": kills, "different": different})
        self.state["round_kills"] = 0
        print(
            f"round {number}: ended after {kills} kills; of {len(names)} results "
            f"{len(different)} differ {different or ''}"
        )
        if not different:
            shutil.rmtree(this.folder)

    def _start(
        self, this: Round, place: str | None, rng: np.random.Generator | None = None
    ) -> str:
        """Start the study, and kill it in `place`, if there is one."""
        before = self._signs(this, place)
        line = commands.Command(this.data).line(
            this.study, f"--roles={','.join(self.roles)}", **self.settings
        )
        with (self.home / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                line, cwd=ROOT, env=commands.environment(), stdout=log, stderr=log
            )
        try:
            if place is not None and rng is not None:
                if self.places[place].signs:
                    while process.poll() is None and self._signs(this, place) <= before:
                        time.sleep(0.001)
                time.sleep(rng.uniform(0, self.places[place].seconds))
                if process.poll() is None:
                    process.kill()
                    process.wait()
                    return "killed"
            status = process.wait(ROUND_S)
        finally:
            process.kill()
            process.wait()
        if status:
            raise SystemExit(f"status {status}: see {self.home}/log.txt")
        return "finished"

    def _signs(self, this: Round, place: str | None) -> frozenset[tuple[str, int]]:
        return this.seen(*self.places[place].signs) if place else frozenset()

    def summary(self) -> Iterator[str]:
        """What there was, line by line."""
        kills, rounds = self.state["kills"], self.state["rounds"]
        yield f"{len(kills)} kills, each followed by a new start; where:"
        for place, count in Counter(kills).most_common():
            yield f"  {place:<12} {count}"
        same = [each for each in rounds if not each["different"]]
        yield (
            f"{len(rounds)} rounds ended after "
            f"{', '.join(str(each['kills']) for each in rounds)} kills; "
            f"{len(same)} of them left {len(self.state['expected'])} results, each bit "
            "for bit as the undisturbed round, and nothing half done"
        )


def main(arguments: list[str]) -> int:
    """Parse the flags, soak, print the summary; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak")
    parser.add_argument("--home", type=pathlib.Path, required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=24 * 3600)
    given = parser.parse_args(arguments)
    given.home.mkdir(parents=True, exist_ok=True)
    soak = Soak(given.home, given.seed)
    status = soak.run(given.kills, given.seconds)
    print("\n".join(soak.summary()))
    return status


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".cache" / "jax"))
    sys.exit(main(sys.argv[1:]))
