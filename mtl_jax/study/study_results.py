"""The results of a study's runs, read for tables, figures and report.

Input: finished jobs. Output: evaluation rows by role and seed, and patients with each
role's predictions as they were scored.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np

from mtl_jax.core import records, reported_metrics, roles, sites
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring, yardsticks
from mtl_jax.inference import volumes
from mtl_jax.run import results, workdir
from mtl_jax.study import plan


@dataclasses.dataclass(frozen=True)
class SplitResults:
    """One split's results of all roles and seeds; pictures show the first seed."""

    name: str  # of the split
    split: prepared.Split
    jobs: tuple[plan.Job, ...]  # without those that only predict contours
    yardsticks: results.Yardsticks
    rules: scoring.Rules
    fingerprint: str  # of the data

    @property
    def site(self) -> sites.Site:
        """The site of the split's patients."""
        return self.split.site

    @property
    def generated(self) -> bool:
        """Whether the patients are phantoms."""
        return self.jobs[0].config.data.source == "phantom"

    @property
    def patients_in_words(self) -> str:
        """Such as `14 patients of the test split`."""
        kind = "generated phantoms" if self.generated else "patients"
        return f"{len(self.patient_ids)} {kind} of the {self.name} split"

    @functools.cached_property
    def rows(self) -> dict[str, list[list[scoring.Row]]]:
        """Evaluation rows by role, a list for each seed."""
        by_role: dict[str, list[list[scoring.Row]]] = {}
        for job, rows in self.rows_by_job:
            by_role.setdefault(job.role.name, []).append(rows)
        return by_role

    @functools.cached_property
    def rows_by_job(self) -> list[tuple[plan.Job, list[scoring.Row]]]:
        """Evaluation rows of each job."""
        return [
            (job, scoring.read_csv(results.rows_path(job.workdir, self.name)))
            for job in self.jobs
        ]

    @functools.cached_property
    def first_jobs(self) -> dict[str, plan.Job]:
        """The job of the first seed, by role; figures and findings show it."""
        by_role: dict[str, plan.Job] = {}
        for job in self.jobs:
            by_role.setdefault(job.role.name, job)
        return by_role

    @property
    def labelled_yardsticks(self) -> results.Yardsticks:
        """Evaluation rows by the yardstick's label in tables."""
        return {yardsticks.TABLE[n].label: rows for n, rows in self.yardsticks.items()}

    @property
    def structures(self) -> tuple[str, ...]:
        """The structures that the networks contour."""
        return tuple(self.jobs[0].config.data.structures)

    @functools.cached_property
    def patient_ids(self) -> tuple[str, ...]:
        """All patients of the split, in its order."""
        return tuple(entry.patient_id for entry in self.split.patients)

    def patient(self, patient_id: str) -> records.Patient:
        """The volumes of a patient of the split."""
        return self.split.volume(self.patient_ids.index(patient_id))

    def prediction(
        self, role: str, patient: records.Patient
    ) -> records.PredictedVolumes:
        """A role's prediction for a patient, as it was scored."""
        folder = self.first_jobs[role].workdir
        path = results.prediction_path(folder, self.name, patient.patient_id)
        return self.rules.as_configured(patient, volumes.read(path))

    def predictions(
        self, patient: records.Patient
    ) -> dict[str, records.PredictedVolumes]:
        """Each role's prediction for a patient, by the role's label in tables."""
        return {label(role): self.prediction(role, patient) for role in self.first_jobs}

    def probabilities(
        self, role: str, patient: records.Patient
    ) -> dict[str, np.ndarray]:
        """A role's contour probabilities [Z, Y, X] by structure, as predicted."""
        folder = self.first_jobs[role].workdir
        path = results.prediction_path(folder, self.name, patient.patient_id)
        prediction = volumes.read(path)
        if prediction.contours is None:
            return {}
        return dict(zip(prediction.structures, prediction.contours, strict=True))

    def scores(self, role: str) -> dict[str, scoring.PatientScore]:
        """Each patient's headline numbers with the first seed."""
        return scoring.scores(self.rows[role][0])

    def ranking(self, task: roles.Task) -> dict[str, float]:
        """Each patient's dose error in Gy or mean Dice, by which patients are ranked.

        The role is Multi-Automated if it was run, else the first that predicts `task`.
        """
        doing = [name for name in self.rows if task in roles.get(name).tasks]
        if not doing:
            return {}
        proposed = roles.playing("proposed", task)
        scores = self.scores(proposed if proposed in doing else doing[0])
        if task == "dose":
            return {
                name: math.nan if score.dose_error_gy is None else score.dose_error_gy
                for name, score in scores.items()
            }
        return {name: score.mean_dice for name, score in scores.items()}

    def value(self, role: str, patient: str, structure: str, metric: str) -> float:
        """A contour metric's value or a dose metric's error; NaN if there is none."""
        row = self._by_key[role].get((patient, structure, metric))
        return math.nan if row is None else row.value

    @functools.cached_property
    def _by_key(self) -> dict[str, dict[tuple[str, str, str], scoring.Row]]:
        return {
            role: {
                (row.patient, row.structure, row.metric): row
                for row in seeds[0]
                if not row.variant
            }
            for role, seeds in self.rows.items()
        }


def label(role: str) -> str:
    """The role's name in figures and report."""
    return roles.get(role).paper_name or role


def write_rows(split_results: SplitResults, path: Path) -> None:
    """Write the rows of all roles and seeds to one CSV, completely or not at all."""
    runs = (
        ((job.role.name, job.config.seed), rows)
        for job, rows in split_results.rows_by_job
    )
    scoring.write_runs_csv(runs, path, ("role", "seed"))


def _comparable(basis: dict[str, Any]) -> dict[str, Any]:
    metrics = reported_metrics.without_comments(basis.get("metrics", ""))
    return basis | {"metrics": metrics}


def yardsticks_of(
    data: prepared.Prepared,
    name: str,
    config: ml_collections.ConfigDict,
    folder: Path,
) -> results.Yardsticks:
    """Rows of all yardsticks on split `name`, cached in `folder`.

    They are scored again if the data or the rules have changed.
    """
    rules = scoring.Rules.of(config)
    basis = {
        "yardsticks": list(yardsticks.TABLE),
        "data": data.fingerprint,
        "structures": list(config.data.structures),
        "metrics": reported_metrics.render(rules.template, rules.site),
        "threshold": rules.contour_threshold,
        "apply_possible_dose_mask": rules.apply_possible_dose_mask,
        "largest_component": rules.largest_component,
    }
    basis_path = folder / "basis.json"
    cached = workdir.read_json(basis_path) if basis_path.exists() else {}
    paths = {key: folder / f"{key}.csv" for key in cached.get("names", ())}
    if _comparable(cached.get("basis", {})) == _comparable(basis) and all(
        path.exists() for path in paths.values()
    ):
        return {key: scoring.read_csv(path) for key, path in paths.items()}
    basis_path.unlink(missing_ok=True)  # an interrupted run must not look complete
    rows = results.score_yardsticks(
        data.splits["train"],
        data.splits[name],
        rules,
        config.data.structures,
        roles.BOTH,
    )
    for key, yardstick_rows in rows.items():
        scoring.write_csv(yardstick_rows, folder / f"{key}.csv")
    workdir.write_json({"basis": basis, "names": list(rows)}, basis_path)
    return rows
