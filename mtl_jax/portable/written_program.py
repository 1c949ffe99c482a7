"""A program on disk: written, read back, and compared with the network.

Input: where a network is. Output: a folder with the program, `network.json`, which says
what its input must be, and `example.npz`: an image and what the network makes of it.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mtl_jax.core import errors, files
from mtl_jax.portable import formats
from mtl_jax.portable import program as programs
from mtl_jax.run import saved_networks

DESCRIPTION, EXAMPLE = "network.json", "example.npz"

# The largest difference of a probability, and of dose / prescription, by the network's
# type. It is the rounding of some fifty layers.
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}


@dataclasses.dataclass(frozen=True)
class WrittenProgram:
    """What was written."""

    path: Path
    description: Mapping[str, object]
    differences: Mapping[str, float]  # from the network, by task

    def lines(self) -> Iterator[str]:
        """What a user is told."""
        size = self.path.stat().st_size / 1e6
        yield f"{self.path}: {size:.1f} MB"
        yield f"its input: {self.path.parent / DESCRIPTION}"
        for task, difference in self.differences.items():
            yield f"{task}: differs from the network by at most {difference:.1e}"


def write(
    network: Path, out: Path, name: str, platforms: Sequence[str]
) -> WrittenProgram:
    """Write `network` to the folder `out` in the format `name`.

    The program runs on this machine, on two and on three images.

    Raises:
        CheckpointError: there is no network, or it is damaged.
        OutputError: the format cannot be written here, or the program differs.
    """
    program, form = programs.of(saved_networks.find(network)), formats.FORMATS[name]
    path = out / f"network.{name}"
    with files.whole(path) as partial:
        form.write(program, platforms, partial)
        differences = _differences(form.read(partial), program.example)
        tolerance = TOLERANCE[program.description["type"]]
        # A NaN is no number within the tolerance.
        if not all(each <= tolerance for each in differences.values()):
            raise errors.OutputError(
                f"the program in {name} differs from the network: {differences}, "
                f"expected at most {tolerance}; nothing was written"
            )
    with files.whole(out / DESCRIPTION) as partial:
        text = json.dumps(program.description, indent=2) + "\n"
        partial.write_text(text, encoding="utf-8")
    with files.whole(out / EXAMPLE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **program.example)
    return WrittenProgram(path, program.description, differences)


def _differences(
    run: formats.Function, example: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """The largest difference by task, for two images and for three."""
    image = example["image"]
    largest: dict[str, float] = {}
    for count in (2, 3):
        outputs = run(np.resize(image, (count, *image.shape[1:])))
        for task, output in outputs.items():
            expected = np.resize(example[task], (count, *example[task].shape[1:]))
            difference = np.abs(output - expected).max()
            largest[task] = float(np.maximum(largest.get(task, 0.0), difference))
    return largest
