"""The paper's comparison: trains what is missing, evaluates, writes tables and report.

    python -m mtl_jax.study --config=configs/openkbp.py [--roles=...] [--seeds=0,1,2]

Started again after a stop, it goes on where it was. Results of a split go into
`runs/<config>/study/<split>/`: the report, tables, figures, DVH plots, all rows.
Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
"""

import logging
from pathlib import Path

import ml_collections
from absl import flags

from mtl_jax.core import errors, locks, reported_metrics, sites
from mtl_jax.datasets import prepared
from mtl_jax.evaluation import scoring
from mtl_jax.report import page, render
from mtl_jax.run import command
from mtl_jax.study import plan, report_content, split_checks, study_files, study_results
from mtl_jax.train import distributed

logger = logging.getLogger("mtl_jax")

ROLES = flags.DEFINE_list(
    "roles", list(plan.PAPER), "Roles to compare (core/roles), separated by commas."
)
SEEDS = flags.DEFINE_string("seeds", None, "Seeds, as 0,1,2; by default config.seed.")
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Say what would be run, and how long it took last time."
)
PRINT_METRICS = flags.DEFINE_bool(
    "print_metrics", False, "Print the metrics file of --config's site, and end."
)


def run() -> int:
    """Train, evaluate, write; returns the exit status."""
    config = command.config()
    if distributed.count() > 1:
        raise errors.ConfigError(
            "a study runs in one process, on all devices that it finds: train its runs "
            "with `python -m mtl_jax.main` on several processes, in the folders that "
            "--dry_run names, and start the study in one, which takes them over"
        )
    if PRINT_METRICS.value:
        template = scoring.Rules.of(config).template
        print(reported_metrics.render(template, sites.get(config.site)), end="")
        return 0
    home = command.workdir()
    seeds = plan.parse_seeds(SEEDS.value) if SEEDS.value else (config.seed,)
    jobs = plan.jobs(config, ROLES.value, seeds, home)
    if DRY_RUN.value:
        for job in jobs:
            print(f"{job.workdir}: {plan.state(job)}")
        return 0
    data = command.prepare(config)
    members = split_checks.inspect(data).require()
    with locks.held(home / "study", "choose another --workdir"):
        _compare(config, jobs, data, members, home)
    return 0


def _compare(
    config: ml_collections.ConfigDict,
    jobs: list[plan.Job],
    data: prepared.Prepared,
    members: split_checks.Cohort,
    home: Path,
) -> None:
    """Finish the `jobs`, then write the results of each split."""
    rules = scoring.Rules.of(config)
    beside = {
        name: study_results.yardsticks_of(
            data, name, config, home / "study" / name / "yardsticks"
        )
        for name in config.evaluate.splits
    }
    for number, job in enumerate(jobs, 1):
        logger.info("run %d of %d: %s", number, len(jobs), job.workdir)
        plan.finish(job, data, beside)
    shown = [job for job in jobs if not job.is_fold]
    for name in config.evaluate.splits:
        split = data.splits[name]
        found = study_results.Gathered(
            name, split, tuple(shown), beside[name], rules, data.fingerprint
        )
        _write(found, members, data, config, home / "study" / name)


def _write(
    gathered: study_results.Gathered,
    members: split_checks.Cohort,
    data: prepared.Prepared,
    config: ml_collections.ConfigDict,
    folder: Path,
) -> None:
    """All files of a split's results."""
    kind = "generated phantoms" if config.data.source == "phantom" else "patients"
    words = (
        f"{gathered.site.name}, cohort {config.data.cohort}: "
        f"{len(gathered.patients)} {kind} of the {gathered.name} split"
    )
    tables = study_files.build_tables(gathered, words, config.seed)
    pictures = study_files.draw_figures(gathered, folder / "figures")
    written = [
        *render.write_all(tables, folder / "tables"),
        *(picture.path for picture in pictures),
        *study_files.draw_histograms(gathered, folder / "dvh"),
        *study_files.write_submissions(gathered, folder / "submissions"),
    ]
    study_files.only(written, folder, ("tables", "figures", "dvh", "submissions"))
    study_results.write_rows(gathered, folder / "rows.csv")
    path = folder / "report.html"
    title = f"Contouring and dose prediction: {gathered.site.name}"
    content = report_content.study(gathered, members, data, tables, pictures, title)
    page.write(content, path)
    for table in tables:
        print(render.markdown(table))
    print(f"report: {path}")


if __name__ == "__main__":
    command.start(run)
