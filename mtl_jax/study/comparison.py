"""The paper's comparison: what `python -m mtl_jax.study` does.

Input: the values of the flags. Output: finished runs, the results of each split in
`runs/<config>/study/<split>/`, and the exit status.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from mtl_jax.core import errors, locks, reported_metrics, sites
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring, summary
from mtl_jax.report import page, render
from mtl_jax.run import command, starting_weights
from mtl_jax.study import (
    gather,
    plan,
    report_content,
    split_checks,
    study_files,
    study_flags,
    study_results,
)
from mtl_jax.study.tables import catalogue, measures, pair_tables
from mtl_jax.train import distributed

logger = logging.getLogger("mtl_jax")


def compare() -> int:
    """Train, evaluate and write the results; returns the exit status."""
    config = command.config()
    if distributed.count() > 1:
        raise errors.ConfigError(
            f"{distributed.count()} processes run this study, but a study runs in one "
            "process: train its runs with `python -m mtl_jax.main` on several "
            "processes, in the folders that --dry_run prints, then start the study in "
            "one process to evaluate them"
        )
    if study_flags.PRINT_METRICS.value:
        template = scoring.Rules.of(config).template
        print(reported_metrics.render(template, sites.get(config.site)), end="")
        return 0
    home = command.workdir()
    seeds = (config.seed,)
    if study_flags.SEEDS.value:
        seeds = plan.parse_seeds(study_flags.SEEDS.value)
    jobs = plan.jobs(config, study_flags.ROLES.value, seeds, home)
    elsewhere = gather.find(jobs, [Path(folder) for folder in study_flags.GATHER.value])
    found = [
        dataclasses.replace(job, workdir=elsewhere.get(job.workdir, job.workdir))
        for job in jobs
    ]
    for job in found:
        starting_weights.check(job.config, job.workdir)
    if study_flags.DRY_RUN.value:
        _print_progress(found)
        return 0
    data = command.prepare(config)
    dataset = split_checks.inspect(data).require()
    with locks.held(home / "study", "choose another --workdir"):
        gather.copy(jobs, elsewhere)
        _compare(config, jobs, data, dataset, home)
    return 0


def _print_progress(jobs: Sequence[plan.Job]) -> None:
    """Print how far each run is, and how much is left."""
    progress = [plan.Progress.of(job) for job in jobs]
    for each in progress:
        print(f"{each.job.workdir}: {each.text}")
    done = sum(each.finished for each in progress)
    seconds = sum(each.training_seconds + each.evaluation_seconds for each in progress)
    print(
        f"{done} of {len(jobs)} runs are finished; "
        f"{plan.duration(seconds)} spent on all of them"
    )


def _compare(
    config: ml_collections.ConfigDict,
    jobs: list[plan.Job],
    data: prepared.Prepared,
    dataset: split_checks.DatasetSummary,
    home: Path,
) -> None:
    """Finish the `jobs`, then write the results of each split."""
    rules = scoring.Rules.of(config)
    yardsticks = {
        name: study_results.yardsticks_of(
            data, name, config, home / "study" / name / "yardsticks"
        )
        for name in config.evaluate.splits
    }
    for number, job in enumerate(jobs, 1):
        logger.info("run %d of %d: %s", number, len(jobs), job.workdir)
        plan.finish(job, data, yardsticks)
    evaluated = tuple(job for job in jobs if not job.is_fold)
    for name in config.evaluate.splits:
        split_results = study_results.SplitResults(
            name,
            data.splits[name],
            evaluated,
            yardsticks[name],
            rules,
            data.fingerprint,
        )
        _write(split_results, dataset, data, config, home / "study" / name)


def _write(
    split_results: study_results.SplitResults,
    dataset: split_checks.DatasetSummary,
    data: prepared.Prepared,
    config: ml_collections.ConfigDict,
    folder: Path,
) -> None:
    """Write all files of a split's results."""
    cohort = (
        f"{split_results.site.name}, cohort {config.data.cohort}: "
        f"{split_results.patients_in_words}"
    )
    study = measures.Study.of(
        split_results.rows,
        split_results.labelled_yardsticks,
        site=split_results.site,
        cohort=cohort,
        generated=split_results.generated,
        dose_table=split_results.rules.template.dose_table,
    )
    compared = pair_tables.compare(study, seed=config.seed)
    tables = catalogue.build(study, compared, seed=config.seed)
    figures = study_files.draw_figures(split_results, compared, folder / "figures")
    written = [
        *render.write_all(tables, folder / "tables"),
        *(figure.path for figure in figures),
        *study_files.draw_dvh_plots(split_results, folder / "dvh"),
        *study_files.write_submissions(split_results, folder / "submissions"),
    ]
    study_files.remove_stale(
        written, folder, ("tables", "figures", "dvh", "submissions")
    )
    study_results.write_rows(split_results, folder / "rows.csv")
    path = folder / "report.html"
    title = f"Contouring and dose prediction: {split_results.site.name}"
    report = report_content.build(split_results, dataset, data, tables, figures, title)
    page.write(report, path)
    print(_overview(split_results))
    print(f"{len(tables)} tables: {folder / 'tables'}")
    print(f"report: {path}")


def _overview(split_results: study_results.SplitResults) -> str:
    """The scores of all roles and yardsticks, a line each, for a terminal."""
    site = split_results.site
    named = {
        study_results.label(role): [scoring.summarise(rows, site) for rows in seeds]
        for role, seeds in split_results.rows.items()
    } | {
        label: [scoring.summarise(rows, site)]
        for label, rows in split_results.labelled_yardsticks.items()
    }
    return f"{split_results.patients_in_words}\n{summary.overview(named)}"
