"""Writes a run's metrics and pictures to `metrics.jsonl` and to TensorBoard files.

Input: scalars, images and texts of a step. Output: files in the working directory.
clu's `MultiWriter` passes everything to each writer. clu imports TensorFlow for its own
summary writer; without TensorFlow a stand-in lets the rest of clu work, and
tensorboardX writes the TensorBoard files.
"""

import importlib
import importlib.util
import json
import os
import sys
import time
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mtl_jax.core import contour_masks, files, records

# A step and the figures of a line of metrics.jsonl; True asks to stop the training.
Callback = Callable[[int, dict[str, float]], bool | None]

# Fields of metrics.jsonl that depend on the machine's speed; others are reproducible.
TIMING = ("images_per_second", "seconds")


class Quiet:
    """The parts of clu's MetricWriter that a run does not use."""

    def write_summaries(self, step: int, values: Any, metadata: Any = None) -> None: ...
    def write_videos(self, step: int, videos: Any) -> None: ...
    def write_audios(self, step: int, audios: Any, *, sample_rate: int) -> None: ...
    def write_histograms(
        self, step: int, arrays: Any, num_buckets: Any = None
    ) -> None: ...
    def write_hparams(self, hparams: Mapping[str, Any]) -> None: ...
    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...
    def write_images(self, step: int, images: Mapping[str, Any]) -> None: ...


class JsonLines(Quiet):
    """Appends one JSON object per call to `path`, after `resume_step`.

    Lines after `resume_step`, and a last line that was cut off, are removed first:
    their steps will run again.
    """

    def __init__(self, path: Path, *, resume_step: int):
        rows = [row for row in read_json_lines(path) if row["step"] <= resume_step]
        with files.whole(path) as partial:
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self._file = path.open("a")

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        values = {name: _plain(value) for name, value in scalars.items()}
        self._file.write(json.dumps({"step": step} | values) + "\n")

    def flush(self) -> None:
        """Return when all lines are on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.flush()
        self._file.close()


class TensorBoard(Quiet):
    """Scalars, pictures and texts in TensorBoard's files, written in this thread.

    tensorboardX's own SummaryWriter uses another thread; if that ends, for example
    because the disk is full, it waits forever.
    """

    def __init__(self, folder: Path, *, resume_step: int):
        tensorboardx = importlib.import_module("tensorboardX")
        self._summary = tensorboardx.summary
        self._events = importlib.import_module("tensorboardX.proto.event_pb2")
        folder.mkdir(parents=True, exist_ok=True)
        # The file's name has the second in it, and two starts may share that.
        self._writer = tensorboardx.event_file_writer.EventsWriter(
            str(folder / "events"), f".{os.getpid()}"
        )
        if resume_step:  # later steps of files that were written before are hidden
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            self._write(resume_step + 1, session_log=start)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        for name, value in scalars.items():
            self._write(step, summary=self._summary.scalar(name, float(value)))

    def write_images(self, step: int, images: Mapping[str, Any]) -> None:
        for name, image in images.items():
            summary = self._summary.image(name, np.asarray(image), dataformats="HWC")
            self._write(step, summary=summary)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            self._write(step, summary=self._summary.text(name, text))

    def _write(self, step: int, **content: Any) -> None:
        event = self._events.Event(wall_time=time.time(), step=step, **content)
        self._writer.write_event(event)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Listener(Quiet):
    """Calls functions with each line of metrics.jsonl, and notes if one asks to stop.

    Training comes to this line some steps after its own (`loop.train`).
    """

    def __init__(self, callbacks: Sequence[Callback]):
        self._callbacks = callbacks
        self.stop = False

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        for callback in self._callbacks:
            values = {name: _plain(value) for name, value in scalars.items()}
            self.stop |= bool(callback(step, values))

    def flush(self) -> None: ...
    def close(self) -> None: ...


def _plain(value: Any) -> float:
    """A number of Python; an integer stays one."""
    return value if isinstance(value, int) else float(value)


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`, up to the first incomplete one."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def open_writers(workdir: Path, *, resume_step: int, also: Sequence[Any] = ()) -> Any:
    """Clu's MultiWriter over `metrics.jsonl` and `tensorboard/` of `workdir`.

    `also`: further writers, which get the same.
    """
    metric_writers = _clu_metric_writers()
    return metric_writers.MultiWriter(
        [
            JsonLines(workdir / "metrics.jsonl", resume_step=resume_step),
            TensorBoard(workdir / "tensorboard", resume_step=resume_step),
            *also,
        ]
    )


def _clu_metric_writers() -> types.ModuleType:
    """`clu.metric_writers`, with a stand-in for what needs an absent TensorFlow."""
    absent = [
        name
        for name in ("tensorflow", "tensorboard")
        if not importlib.util.find_spec(name)
    ]
    stand_in = "clu.metric_writers.tf.summary_writer"
    if absent and stand_in not in sys.modules:
        module = types.ModuleType(stand_in)
        module.SummaryWriter = TensorBoard  # type: ignore[attr-defined]
        sys.modules[stand_in] = module
    return importlib.import_module("clu.metric_writers")


def picture(
    batch: records.Batch,
    outputs: Mapping[str, np.ndarray],
    colours: list[tuple[int, int, int]],
    *,
    slices: int,
    head: str,
    threshold: float,
) -> np.ndarray:
    """Slices for TensorBoard, one a row: CT, contours and doses, [H, W, 3] uint8.

    Args:
        batch: as in core/records.Batch.
        outputs: `contours` as probabilities [B, H, W, N] and/or `dose` [B, H, W, 1].
        colours: RGB of each structure.
        slices: how many rows.
        head: of the network's contours; it decides how they become masks.
        threshold: the probability from which a voxel is inside, with a sigmoid head.
    """
    rows = []
    for index in range(min(slices, len(batch["image"]))):
        ct = _grey(batch["image"][index, ..., 0])
        panels = [ct]
        if "contours" in outputs:
            predicted = contour_masks.masks(
                np.moveaxis(outputs["contours"][index], -1, 0),
                head=head,
                threshold=threshold,
            )
            for masks in (batch["contours"][index], np.stack([*predicted], axis=-1)):
                panels.append(_outlined(ct, np.asarray(masks, bool), colours))
        if "dose" in outputs:
            doses = [batch["dose"][index, ..., 0], outputs["dose"][index, ..., 0]]
            panels += [_grey(dose, low=0.0, high=1.1) for dose in doses]
        rows.append(np.concatenate(panels, axis=1))
    return np.concatenate(rows, axis=0)


def _grey(image: np.ndarray, low: float | None = None, high: float | None = None):
    low = float(image.min()) if low is None else low
    high = float(image.max()) if high is None else high
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=-1)


def _outlined(
    ct: np.ndarray, masks: np.ndarray, colours: list[tuple[int, int, int]]
) -> np.ndarray:
    """`ct` with the border pixels of each mask [H, W, N] in its colour."""
    painted = ct.copy()
    for channel, colour in enumerate(colours):
        mask = np.pad(masks[..., channel], 1)
        inner = mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
        painted[mask[1:-1, 1:-1] & ~inner] = colour
    return painted


class NoWriter:
    """The writer of a process that is not the first: writes nothing."""

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None: ...
    def write_images(self, step: int, images: Mapping[str, Any]) -> None: ...
    def write_texts(self, step: int, texts: Mapping[str, str]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...
