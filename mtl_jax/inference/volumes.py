"""Predicted slices become volumes on the CT's own grid, with doses in Gy.

Input: batches of a fixed shape, in the order of the slices, and a network. Output: a
Prediction for each patient; rows that are padding are dropped.
"""

import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from mtl_jax.core import contour_masks, errors, files, geometry, records
from mtl_jax.pipeline import preprocess as preprocessing

SMALLEST = float(np.finfo(np.float16).smallest_normal)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one patient: a dose, contours, or both."""

    grid: geometry.Grid
    dose_gy: np.ndarray | None  # [Z, Y, X] float32, not negative
    contours: np.ndarray | None  # [N, Z, Y, X] float16 probabilities
    structures: tuple[str, ...]  # names along N


def predict(
    batches: Iterable[records.Batch],
    grids: dict[int, geometry.Grid],
    network: Callable[[np.ndarray], dict[str, np.ndarray]],
    preprocess: preprocessing.Preprocess,
) -> Iterator[tuple[int, Prediction]]:
    """Yield (patient index, prediction), patient by patient.

    Args:
        batches: slices in order (pipeline/batches.evaluation).
        grids: grid of each patient, by index.
        network: images [B, H, W, C] to dose / prescription and contour probabilities.
        preprocess: restores the patient's grid.
    """
    for patient, outputs in by_patient(batches, network):
        yield patient, _restored(outputs, grids[patient], preprocess)


def by_patient(
    batches: Iterable[records.Batch],
    network: Callable[[np.ndarray], dict[str, np.ndarray]],
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yield (patient index, outputs [Z, H, W, ...] by task) on the network's grid."""
    rows: list[dict[str, np.ndarray]] = []
    current = None
    for batch in batches:
        outputs = network(batch["image"])
        for row in np.flatnonzero(batch["mask"]):
            patient = int(batch["patient"][row])
            if patient != current and current is not None:
                yield current, _stack(rows)
                rows = []
            current = patient
            rows.append({task: output[row] for task, output in outputs.items()})
    if current is not None:
        yield current, _stack(rows)


def with_mirror(
    network: Callable[[np.ndarray], dict[str, np.ndarray]],
    preprocess: preprocessing.Preprocess,
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """`network`, averaged with its prediction for the mirror image (not in the paper).

    Left and right organs exchange channels, in the input and in the output.
    """
    channels = preprocess.mirrored_channels

    def both(image: np.ndarray) -> dict[str, np.ndarray]:
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
    return {task: np.stack([row[task] for row in rows]) for task in rows[0]}


def _restored(
    outputs: dict[str, np.ndarray],
    grid: geometry.Grid,
    preprocess: preprocessing.Preprocess,
) -> Prediction:
    dose_gy = contours = None
    if "dose" in outputs:
        dose_gy = restore_dose(outputs["dose"], grid, preprocess)
    if "contours" in outputs:
        probabilities = outputs["contours"]
        # Contiguous, structure by structure.
        contours = np.empty((probabilities.shape[-1], *grid.shape), np.float16)
        for channel, probability in enumerate(contours):
            probability[:] = restore_contour(probabilities, channel, grid, preprocess)
    return Prediction(grid, dose_gy, contours, preprocess.structures)


def restore_dose(
    outputs: np.ndarray, grid: geometry.Grid, preprocess: preprocessing.Preprocess
) -> np.ndarray:
    """The dose in Gy [Z, Y, X] float32 on the CT's `grid`, not negative.

    `outputs` [Z, H, W, 1] are the network's: dose / prescription, on its own grid.
    """
    restored = np.maximum(preprocess.restore(outputs[..., 0], grid), 0)
    restored *= np.float32(preprocess.prescription_gy)
    return restored


def restore_contour(
    outputs: np.ndarray,
    channel: int,
    grid: geometry.Grid,
    preprocess: preprocessing.Preprocess,
) -> np.ndarray:
    """Probabilities [Z, Y, X] float16 of one of the contours on the CT's `grid`."""
    return preprocess.restore(outputs[..., channel], grid).astype(np.float16)


def restore_masks(
    outputs: np.ndarray,
    grid: geometry.Grid,
    preprocess: preprocessing.Preprocess,
    *,
    head: str,
    threshold: float,
) -> dict[str, np.ndarray]:
    """Masks [Z, Y, X] bool by structure: `core.contour_masks` of `restore_contour`.

    One structure's probabilities are on the CT's grid at a time.
    """

    def probability(channel: int) -> np.ndarray:
        restored = preprocess.restore(outputs[..., channel], grid)
        # Most of a CT is near 0. The cast takes forty times as long for numbers that
        # are subnormal with 16 bits, and all of these are below any usual threshold.
        if head == "sigmoid" and threshold >= 2 * SMALLEST:
            restored = np.where(restored < SMALLEST, np.float32(0), restored)
        return restored.astype(np.float16)

    probabilities = map(probability, range(outputs.shape[-1]))
    masks = contour_masks.masks(probabilities, head=head, threshold=threshold)
    return dict(zip(preprocess.structures, masks, strict=True))


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
