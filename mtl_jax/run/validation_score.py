"""The score that picks the best checkpoint: what is reported, over its yardstick.

Input: a network in training, and its validation losses. Output: the score and what it
is made of, to be logged; lower is better. Each task's error, on the whole volumes of
the same few validation patients, is divided by that of a yardstick, which sees no
image: 1 is no better than the yardstick. So each task counts, whatever the size of its
loss. Nothing is averaged with the mirror image.
"""

import dataclasses
import functools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from tqdm import tqdm

from mtl_jax.core import files, records, roles
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring, yardsticks
from mtl_jax.inference import postprocess, volumes
from mtl_jax.pipeline import preprocess as preprocessing
from mtl_jax.run import workdir as workdirs
from mtl_jax.train import checkpoint, distributed, loop

logger = logging.getLogger(__name__)

NAME = "validation_yardsticks.json"
# Predicted patients that may wait to be scored: some 40 MB each.
WAITING_PATIENTS = 8


@dataclasses.dataclass(frozen=True)
class Figure:
    """The reported figure of a task."""

    name: str  # logged as validation/<name>
    yardstick: str  # a row of yardsticks.TABLE
    read: Callable[[Mapping[str, Any]], float | None]  # from an evaluation's summary
    error: Callable[[float], float]  # 0 is perfect


def _mean_dice(summary: Mapping[str, Any]) -> float | None:
    return summary.get("mean_dice")


def _dose_score_gy(summary: Mapping[str, Any]) -> float | None:
    return summary["metrics"].get("dose_error", {}).get("mean")


FIGURES: dict[roles.Task, Figure] = {
    "contours": Figure("mean_dice", "prior_map", _mean_dice, lambda dice: 1 - dice),
    "dose": Figure("dose_score_gy", "mean_dose_map", _dose_score_gy, lambda gy: gy),
}


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the positions 0 to `count` - 1, evenly spread.

    >>> spread(40, 8)
    [2, 7, 12, 17, 22, 27, 32, 37]
    >>> spread(3, 8)
    [0, 1, 2]
    """
    chosen = min(count, most)
    return [(2 * i + 1) * count // (2 * chosen) for i in range(chosen)]


def make(
    config: ml_collections.ConfigDict,
    data: prepared.Prepared,
    batches: Callable[[Collection[int]], Iterable[records.Batch]],
    preprocess: preprocessing.Preprocess,
    workdir: Path,
) -> "Score":
    """The score of `config`.

    Args:
        config: of the run.
        data: its data set.
        batches: all slices of the validation split in order, without the patients at
            the given positions.
        preprocess: restores the patients' grids.
        workdir: of the run; keeps the yardsticks' figures.
    """
    validation = data.splits["validation"]
    count = len(validation.patients)
    chosen = spread(count, config.evaluate.best_patients)
    if not chosen:
        return SumOfLosses()
    return OverYardsticks(
        train=data.splits["train"],
        validation=validation,
        fingerprint=data.fingerprint,
        positions=chosen,
        batches=functools.partial(batches, set(range(count)) - set(chosen)),
        preprocess=preprocess,
        rules=scoring.Rules.of(config),
        tasks=roles.get(config.role).tasks,
        workdir=workdir,
    )


class SumOfLosses:
    """The score of earlier versions; a task with a small loss hardly counts."""

    measure = checkpoint.LOSSES

    def prepare(self) -> None:
        """There is no yardstick."""

    def __call__(self, _: loop.Predict) -> Callable[[], loop.Finish]:
        """Nothing is predicted; the losses are added."""
        return lambda: lambda losses: {loop.SCORE: sum(losses.values())}


@dataclasses.dataclass(frozen=True)
class OverYardsticks:
    """The mean of the tasks' errors over those of their yardsticks."""

    train: prepared.Split  # to fit the yardsticks on
    validation: prepared.Split
    fingerprint: str  # of the data
    positions: Sequence[int]  # of the patients in `validation`
    batches: Callable[[], Iterable[records.Batch]]  # all slices of these, in order
    preprocess: preprocessing.Preprocess
    rules: scoring.Rules
    tasks: Sequence[roles.Task]
    workdir: Path

    @functools.cached_property
    def basis(self) -> dict[str, Any]:
        """What the yardsticks' figures and the network's depend on, as JSON values."""
        sigmoid = self.rules.contour_head == "sigmoid"
        patients = self.validation.patients
        return {
            "data": self.fingerprint,
            "patients": [patients[position].patient_id for position in self.positions],
            "tasks": list(self.tasks),
            "structures": list(self.preprocess.structures),
            "contour_threshold": self.rules.contour_threshold if sigmoid else None,
            "largest_component": self.rules.largest_component,
            "apply_possible_dose_mask": self.rules.apply_possible_dose_mask,
        }

    @property
    def measure(self) -> str:
        """What the score is, for checkpoints: in words, with a digest of `basis`."""
        return (
            "mean over tasks of the error over the yardstick's; validation patients: "
            f"{len(self.positions)} ({files.json_digest(self.basis)[:12]})"
        )

    @functools.cached_property
    def yardsticks(self) -> dict[roles.Task, float]:
        """The yardsticks' error by task, without tasks that have none above 0."""
        figures = distributed.once(self._stored_figures)
        errors: dict[roles.Task, float] = {
            task: FIGURES[task].error(figures[FIGURES[task].name])
            for task in self.tasks
            if FIGURES[task].name in figures
        }
        return {task: error for task, error in errors.items() if error > 0}

    def prepare(self) -> None:
        """Fit the yardsticks if the workdir does not hold their figures; log them."""
        count, total = len(self.positions), len(self.validation.patients)
        for task in self.tasks:
            label = yardsticks.TABLE[FIGURES[task].yardstick].label
            if task in self.yardsticks:
                logger.info(
                    "best checkpoint, %s: error over that of the %s, %.4g, on %d of %d "
                    "validation patients",
                    *(task, label, self.yardsticks[task], count, total),
                )
            else:
                logger.warning(
                    "best checkpoint, %s: the validation loss counts, because %d of %d "
                    "validation patients give the %s no error to compare with; if "
                    "others would, set evaluate.best_patients higher",
                    *(task, count, total, label),
                )

    def _stored_figures(self) -> dict[str, float]:
        """The yardsticks' figures by name, fitted once for the workdir and `basis`."""
        path = self.workdir / NAME
        if path.exists():
            stored = workdirs.read_json(path)
            if stored["basis"] == self.basis:
                return stored["figures"]
        figures = self._figures(self._yardstick_rows())
        workdirs.write_json({"basis": self.basis, "figures": figures}, path)
        return figures

    def _yardstick_rows(self) -> list[scoring.Row]:
        rules = self.rules.of_yardsticks.of_headlines
        structures = self.preprocess.structures if "contours" in self.tasks else ()
        fitted = yardsticks.fit(self.train, rules.site, structures, on=self.validation)
        names = [FIGURES[task].yardstick for task in self.tasks]
        rows: list[scoring.Row] = []
        for position in self.positions:
            patient = self.validation.volume(position)
            for name in names:
                if name in fitted:
                    prediction = fitted[name].predict(patient)
                    masks = {"": rules.masks(prediction)}
                    rows += scoring.score_arrays(
                        patient, prediction.dose_gy, masks, rules
                    )
        return rows

    def _figures(self, rows: Sequence[scoring.Row]) -> dict[str, float]:
        """The tasks' figures by name, as far as `rows` have them."""
        summary = scoring.summarise(rows, self.rules.site)
        values = {FIGURES[t].name: FIGURES[t].read(summary) for t in self.tasks}
        return {name: value for name, value in values.items() if value is not None}

    def __call__(self, predict: loop.Predict) -> Callable[[], loop.Finish]:
        """Predict the patients with the network `predict`, in all processes.

        They are scored in a thread. Returns a function that waits for it; then all
        processes get the score and its parts from the losses, which count for a task
        that has no figure or no yardstick.
        """
        thread = futures.ThreadPoolExecutor(1)
        scored: list[futures.Future[list[scoring.Row]]] = []
        with tqdm(
            total=len(self.positions),
            desc="validation, volumes",
            unit="pt",
            leave=False,
            disable=not distributed.shows_progress(),
        ) as bar:
            batches = distributed.with_all_rows(self.batches())
            for position, outputs in volumes.by_patient(batches, predict):
                if distributed.is_first():
                    scored.append(thread.submit(self._rows, position, outputs))
                    futures.wait(scored[:-WAITING_PATIENTS])
                bar.update()
        thread.shutdown(wait=False)

        def finish() -> loop.Finish:
            rows = [row for patient in scored for row in patient.result()]
            return functools.partial(self._score, rows)

        return finish

    def _score(
        self, rows: Sequence[scoring.Row], losses: Mapping[str, float]
    ) -> dict[str, float]:
        """The score and its parts, in all processes; the first one has the rows."""
        figures = distributed.once(lambda: self._figures(rows))
        logged = {f"validation/{name}": value for name, value in figures.items()}
        parts: dict[str, float] = dict(losses)
        for task, of_yardstick in self.yardsticks.items():
            value = figures.get(FIGURES[task].name)
            # No value: nothing is contoured where the reference is empty, too.
            error = 0.0 if value is None else FIGURES[task].error(value)
            parts[task] = logged[f"validation/ratio/{task}"] = error / of_yardstick
        return logged | {loop.SCORE: sum(parts.values()) / len(parts)}

    def _rows(self, position: int, outputs: dict[str, np.ndarray]) -> list[scoring.Row]:
        """Rows of one patient, from the network's outputs [Z, H, W, ...] by task."""
        patient, rules = self.validation.volume(position), self.rules
        dose_gy, masks, grid = None, {}, patient.grid
        network = volumes.Mean()
        network.add(outputs, self.preprocess)
        if "dose" in outputs:
            dose_gy = network.dose(grid)
        if "contours" in outputs:
            head, threshold = rules.contour_head, rules.contour_threshold
            masks = network.masks(grid, head=head, threshold=threshold)
            if rules.largest_component:
                masks = postprocess.largest_of(masks)
        return scoring.score_arrays(patient, dose_gy, {"": masks}, rules.of_headlines)


Score = OverYardsticks | SumOfLosses
