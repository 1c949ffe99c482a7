"""What the runs of a study have left behind, read for tables, figures and report.

In: jobs that are finished. Out: rows by role and seed, and patients with what each role
predicts for them, as it was scored.
"""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import records, reported_metrics, roles, sites
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring, yardsticks
from mtl_jax.inference import volumes
from mtl_jax.run import results, workdir
from mtl_jax.study import plan


@dataclasses.dataclass(frozen=True)
class Gathered:
    """A split's results, of all roles and seeds; the first seed is shown."""

    name: str
    split: prepared.Split
    jobs: tuple[plan.Job, ...]  # without those that only draw contours
    yardsticks: results.Yardsticks
    rules: scoring.Rules
    fingerprint: str  # of the data

    @property
    def site(self) -> sites.Site:
        return self.split.site

    @functools.cached_property
    def rows(self) -> dict[str, list[list[scoring.Row]]]:
        """Evaluation rows by role, a list for each seed."""
        found: dict[str, list[list[scoring.Row]]] = {}
        for job, rows in self.results:
            found.setdefault(job.role.name, []).append(rows)
        return found

    @functools.cached_property
    def results(self) -> list[tuple[plan.Job, list[scoring.Row]]]:
        """Evaluation rows of each job."""
        return [
            (job, scoring.read_csv(results.rows_path(job.workdir, self.name)))
            for job in self.jobs
        ]

    @functools.cached_property
    def first(self) -> dict[str, plan.Job]:
        """The job of each role whose predictions are shown."""
        found: dict[str, plan.Job] = {}
        for job in self.jobs:
            found.setdefault(job.role.name, job)
        return found

    @property
    def structures(self) -> tuple[str, ...]:
        """What the networks contour."""
        return tuple(self.jobs[0].config.data.structures)

    @functools.cached_property
    def patients(self) -> tuple[str, ...]:
        return tuple(entry.patient_id for entry in self.split.patients)

    def patient(self, patient_id: str) -> records.Patient:
        return self.split.volume(self.patients.index(patient_id))

    def prediction(
        self, role: str, patient: records.Patient
    ) -> records.PredictedVolumes:
        """What a role predicts for a patient, as it was scored."""
        home = self.first[role].workdir
        path = results.prediction_path(home, self.name, patient.patient_id)
        return self.rules.as_configured(patient, volumes.read(path))

    def predictions(
        self, patient: records.Patient
    ) -> dict[str, records.PredictedVolumes]:
        """What each role predicts for a patient, by its label in tables."""
        return {label(role): self.prediction(role, patient) for role in self.first}

    def scores(self, role: str) -> dict[str, scoring.PatientScore]:
        """The headline numbers of each patient, of the first seed."""
        return scoring.scores(self.rows[role][0])

    def ranking(self, task: roles.Task) -> dict[str, float]:
        """Dose error in Gy, or mean Dice, of each patient, of the role that ranks.

        That is Multi-Automated if it was run, else the first that does `task`.
        """
        doing = [name for name in self.rows if task in roles.get(name).tasks]
        if not doing:
            return {}
        proposed = roles.playing("proposed", task)
        scores = self.scores(proposed if proposed in doing else doing[0])
        if task == "dose":
            return {
                who: math.nan if one.dose_error_gy is None else one.dose_error_gy
                for who, one in scores.items()
            }
        return {who: one.mean_dice for who, one in scores.items()}

    def value(self, role: str, patient: str, structure: str, metric: str) -> float:
        """A predicted contour metric, or the error of a dose metric; NaN if none."""
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
    """A role as figures and report call it."""
    return roles.get(role).paper_name or role


def write_rows(gathered: Gathered, path: Path) -> None:
    """All rows of all roles and seeds in one CSV, whole or not at all."""
    runs = (((job.role.name, job.config.seed), rows) for job, rows in gathered.results)
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
    """Rows of all yardsticks on split `name`: from `folder`, or scored and kept there.

    They are scored again where the data or the rules are others than they were.
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
    kept = folder / "basis.json"
    found = workdir.read_json(kept) if kept.exists() else {}
    paths = {each: folder / f"{each}.csv" for each in found.get("names", ())}
    if _comparable(found.get("basis", {})) == _comparable(basis) and all(
        path.exists() for path in paths.values()
    ):
        return {each: scoring.read_csv(path) for each, path in paths.items()}
    kept.unlink(missing_ok=True)  # a stop on the way leaves none of it
    rows = results.score_yardsticks(
        data.splits["train"],
        data.splits[name],
        rules,
        config.data.structures,
        roles.BOTH,
    )
    for each, theirs in rows.items():
        scoring.write_csv(theirs, folder / f"{each}.csv")
    workdir.write_json({"basis": basis, "names": list(rows)}, kept)
    return rows
