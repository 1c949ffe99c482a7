"""Predicted slices become volumes on the CT's own grid, with doses in Gy.

Input: batches of a fixed shape, in the order of the slices, and a network, or several
whose outputs are averaged. Output: a Prediction for each patient; rows that are padding
are dropped.
"""

import dataclasses
import functools
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import contour_masks, errors, files, geometry, records
from mtl_jax.pipeline import preprocess as preprocessing

SMALLEST = float(np.finfo(np.float16).smallest_normal)

# Images [B, H, W, C] to dose / prescription and contour probabilities, by task. These
# are arrays that may still be computed when the network returns: reading them waits.
Network = Callable[[np.ndarray], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one patient: a dose, contours, or both."""

    grid: geometry.Grid
    dose_gy: np.ndarray | None  # [Z, Y, X] float32, not negative
    contours: np.ndarray | None  # [N, Z, Y, X] float16 probabilities
    structures: tuple[str, ...]  # names along N


class Mean:
    """The mean of the outputs of one or more networks for a patient.

    The networks may have different grids, but have the same structures and
    prescription. The outputs of those on one grid are summed there; resampling is
    linear. So memory depends on the number of grids, not on that of networks. Outside
    the image of a network, its output is 0.
    """

    def __init__(self) -> None:
        self._count = 0
        self._sums: dict[
            tuple[object, ...], tuple[preprocessing.Preprocess, dict[str, np.ndarray]]
        ] = {}

    def add(
        self, outputs: dict[str, np.ndarray], preprocess: preprocessing.Preprocess
    ) -> None:
        """Count a network's `outputs` [Z, H, W, ...] by task; they may be changed."""
        self._count += 1
        grid = (*preprocess.image_size, preprocess.image_spacing_mm)
        if grid not in self._sums:
            self._sums[grid] = preprocess, outputs
            return
        for task, total in self._sums[grid][1].items():
            total += outputs[task]

    @property
    def _any(self) -> tuple[preprocessing.Preprocess, dict[str, np.ndarray]]:
        return next(iter(self._sums.values()))

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the networks predict: "contours", "dose", or both."""
        return tuple(self._any[1])

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the contours' channels."""
        return self._any[0].structures

    def _channel(self, task: str, channel: int, grid: geometry.Grid) -> np.ndarray:
        """The mean of one channel [Z, Y, X] on the CT's `grid`; not to be changed."""
        restored = (
            preprocess.restore(outputs[task][..., channel], grid)
            for preprocess, outputs in self._sums.values()
        )
        total = functools.reduce(np.add, restored)
        return total if self._count == 1 else total / np.float32(self._count)

    def dose(self, grid: geometry.Grid) -> np.ndarray:
        """The dose in Gy [Z, Y, X] float32 on the CT's `grid`, not negative.

        It is cut at 0 after averaging, as in `with_mirror`: where there is no dose,
        networks err on both sides of 0.
        """
        restored = np.maximum(self._channel("dose", 0, grid), 0)
        restored *= np.float32(self._any[0].prescription_gy)
        return restored

    def contour(self, channel: int, grid: geometry.Grid) -> np.ndarray:
        """Probabilities [Z, Y, X] float16 of one of the contours on the CT's `grid`."""
        return self._channel("contours", channel, grid).astype(np.float16)

    def masks(
        self, grid: geometry.Grid, *, head: str, threshold: float
    ) -> dict[str, np.ndarray]:
        """Masks [Z, Y, X] bool by structure: `core.contour_masks` of `contour`.

        One structure's probabilities are on the CT's grid at a time.
        """

        def probability(channel: int) -> np.ndarray:
            restored = self._channel("contours", channel, grid)
            # Most of a CT is near 0. The cast takes forty times as long for numbers
            # that are subnormal with 16 bits, and all of these are below any usual
            # threshold.
            if head == "sigmoid" and threshold >= 2 * SMALLEST:
                restored = np.where(restored < SMALLEST, np.float32(0), restored)
            return restored.astype(np.float16)

        probabilities = map(probability, range(len(self.structures)))
        masks = contour_masks.masks(probabilities, head=head, threshold=threshold)
        return dict(zip(self.structures, masks, strict=True))

    def prediction(self, grid: geometry.Grid) -> Prediction:
        """All that the networks predict, on the CT's `grid`."""
        dose_gy = self.dose(grid) if "dose" in self.tasks else None
        contours = None
        if "contours" in self.tasks:
            # Contiguous, structure by structure.
            contours = np.empty((len(self.structures), *grid.shape), np.float16)
            for channel, probability in enumerate(contours):
                probability[:] = self.contour(channel, grid)
        return Prediction(grid, dose_gy, contours, self.structures)


@dataclasses.dataclass(frozen=True)
class Feed:
    """A network, and the batches of slices that it predicts."""

    batches: Iterable[records.Batch]  # slices in order (pipeline/batches.evaluation)
    network: Network
    preprocess: preprocessing.Preprocess  # restores the patient's grid


def predict(
    feeds: Sequence[Feed], grids: dict[int, geometry.Grid]
) -> Iterator[tuple[int, Prediction]]:
    """Yield (patient index, mean prediction of the networks), patient by patient.

    Args:
        feeds: one for each network, all with the same patients.
        grids: grid of each patient, by index.
    """
    first, *others = (by_patient(feed.batches, feed.network) for feed in feeds)
    for patient, outputs in first:
        mean = Mean()
        mean.add(outputs, feeds[0].preprocess)
        for feed, stream in zip(feeds[1:], others, strict=True):
            same, outputs = next(stream)
            assert same == patient, "the feeds have different patients"
            mean.add(outputs, feed.preprocess)
        yield patient, mean.prediction(grids[patient])


def by_patient(
    batches: Iterable[records.Batch], network: Network
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield (patient index, outputs [Z, H, W, ...] by task) on the network's grid."""
    rows: list[dict[str, np.ndarray]] = []
    current = None
    for batch, outputs in _with_outputs(batches, network):
        for row in np.flatnonzero(batch["mask"]):
            patient = int(batch["patient"][row])
            if patient != current and current is not None:
                yield current, _stack(rows)
            current = patient
            rows.append({task: output[row] for task, output in outputs.items()})
    if current is not None:
        yield current, _stack(rows)


def _with_outputs(
    batches: Iterable[records.Batch], network: Network
) -> Iterator[tuple[records.Batch, dict[str, np.ndarray]]]:
    """Yield each batch and its outputs, while those of the next are computed."""
    before: tuple[records.Batch, Mapping[str, Any]] | None = None
    for batch in batches:
        outputs = network(batch["image"])
        if before is not None:
            yield before[0], _read(before[1])
        before = batch, outputs
    if before is not None:
        yield before[0], _read(before[1])


def _read(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {task: np.asarray(output) for task, output in outputs.items()}


def with_mirror(network: Network, preprocess: preprocessing.Preprocess) -> Network:
    """`network`, averaged with its prediction for the mirror image (not in the paper).

    Left and right organs exchange channels, in the input and in the output.
    """
    channels = preprocess.mirrored_channels

    def both(image: np.ndarray) -> Mapping[str, Any]:
        straight = network(image)
        mirrored = network(np.ascontiguousarray(image[:, :, ::-1, channels]))
        mean = {}
        for task, output in straight.items():
            back = mirrored[task][:, :, ::-1]
            if task == "contours":
                back = back[..., preprocess.mirrored_structures]
            mean[task] = (output + back) / 2
        return mean

    return both


def _stack(rows: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The rows as one array a task. `rows` is emptied, so nobody holds them on."""
    stacked = {task: np.stack([row[task] for row in rows]) for task in rows[0]}
    rows.clear()
    return stacked


def save(prediction: Prediction, path: Path) -> None:
    """Write `prediction` to `path` (.npz), whole or not at all."""
    arrays = {
        "dose_gy": prediction.dose_gy,
        "contours": prediction.contours,
        "grid": np.array(json.dumps(dataclasses.asdict(prediction.grid))),
        "structures": np.array(prediction.structures),
    }
    # np.savez_compressed packs at zlib's level 6: five times the time, 5 % less.
    packing, level = zipfile.ZIP_DEFLATED, 1
    with (
        files.whole(path) as partial,
        zipfile.ZipFile(partial, "w", packing, compresslevel=level) as archive,
    ):
        for name, array in arrays.items():
            if array is not None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)


def read(path: Path) -> Prediction:
    """The prediction in `path`.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            grid = json.loads(str(arrays["grid"]))
            return Prediction(
                geometry.Grid.from_json(grid),
                arrays.get("dose_gy"),
                arrays.get("contours"),
                tuple(str(name) for name in arrays["structures"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise errors.RecordError(
            f"prediction {path.name} in {path.parent} is missing or damaged: "
            "delete it and evaluate again"
        ) from error
