"""The data, signals and exit status that the training commands share.

Input: the values of the flags. Output: a checked configuration, a data set, a working
directory, and the command's exit status.

Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
"""

import errno
import importlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import ml_collections
from absl import app
from absl import flags as absl_flags
from absl import logging as absl_logging
from ml_collections import config_flags

from mtl_jax.core import command_line, errors, note_kinds, sites
from mtl_jax.core import config as configs
from mtl_jax.datasets import prepared
from mtl_jax.run import flags, stopping, wiring
from mtl_jax.sources.clinical import patient_folders
from mtl_jax.sources.dicom import reader
from mtl_jax.sources.phantom import dicom_cohort, head_and_neck
from mtl_jax.train import compilation, distributed

logger = logging.getLogger("mtl_jax")

BUILDERS = {
    "openkbp": "tfds_builders.openkbp.openkbp_dataset_builder",
    "dicom": "tfds_builders.dicom.dicom_dataset_builder",
    "prostate": "tfds_builders.prostate.prostate_dataset_builder",
    "nifti": "tfds_builders.nifti.nifti_dataset_builder",
}
# Errors of a disk that is full, read-only or broken.
UNWRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
)


def start(run: Callable[[], int]) -> NoReturn:
    """Call `run`, whose flags were read, and end with its exit status."""

    def main(argv: list[str]) -> int:
        del argv  # the flags hold all of it
        absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax logs a lot
        command_line.set_log_level()
        compilation.keep_programs()
        status = status_of(lambda: _run_connected(run))
        return distributed.leave(status, together=status in (0, stopping.STATUS))

    app.run(main, flags_parser=lambda argv: argv)
    raise AssertionError  # app.run ends the process


def _run_connected(run: Callable[[], int]) -> int:
    """The exit status of `run`, with this process connected to the others."""
    count = flags.PROCESSES.value
    with distributed.connected(flags.COORDINATOR.value, count, flags.PROCESS.value):
        if not distributed.is_first():
            logging.getLogger("mtl_jax").setLevel(logging.WARNING)
        return run()


def status_of(run: Callable[[], int]) -> int:
    """The exit status of `run`; one line says why it ended early."""
    try:
        with stopping.raise_on_signal():
            return run()
    except stopping.Stopped as signal:
        logger.warning("%s: stopped; run the same command again to continue", signal)
        return stopping.STATUS
    except errors.MtlError as error:
        return errors.print_error(error, 1)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        return errors.print_error(
            f"{error}: the disk is full, broken or read-only; fix that, and run the "
            "same command again to continue",
            1,
        )


def config() -> ml_collections.ConfigDict:
    """The configuration of the flags, checked."""
    checked = wiring.check(flags.CONFIG.value)
    distributed.check_same(configs.flatten(checked))
    return checked


def workdir(below: str = "") -> Path:
    """`--workdir`, or by default `runs/<config>/<below>`."""
    if flags.WORKDIR.value:
        return folder(flags.WORKDIR.value)
    filename = config_flags.get_config_filename(absl_flags.FLAGS["config"])
    return Path("runs") / Path(filename).stem / below


def folder(path: str) -> Path:
    """The folder that a flag names; ConfigError if it is a URL."""
    if "://" in path:
        raise errors.ConfigError(
            f"{path} is an address, not a folder: mount the bucket (gcsfuse does), and "
            "give the folder that it is mounted on"
        )
    return Path(path).expanduser()


def data_folders(data_dir: str | None, manual_dir: str | None) -> tuple[Path, Path]:
    """The folders of data sets and of raw patients; by default those of TFDS."""
    usual = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    data = folder(data_dir or usual)
    return data, folder(manual_dir) if manual_dir else data / "downloads" / "manual"


def prepare(config: ml_collections.ConfigDict) -> prepared.Prepared:
    """The data set of `config` in the flags' directories, built if it is missing."""
    data_dir, manual_dir = data_folders(flags.DATA_DIR.value, flags.MANUAL_DIR.value)
    data = distributed.call_in_turn(
        lambda: prepare_in(config, data_dir=data_dir, manual_dir=manual_dir)
    )
    distributed.check_same({"the data's fingerprint": data.fingerprint})
    return data


def prepare_in(
    config: ml_collections.ConfigDict, *, data_dir: Path | None, manual_dir: Path | None
) -> prepared.Prepared:
    """The data set of `config`, built if it is missing; None is TFDS's directory.

    Phantoms are written to `data_dir`, which they need.
    """
    if config.data.builder not in BUILDERS:
        raise errors.ConfigError(
            f"unknown data.builder {config.data.builder!r}"
            f"{errors.nearest(config.data.builder, BUILDERS)}"
        )
    builder = importlib.import_module(BUILDERS[config.data.builder]).Builder
    if config.data.source == "phantom":
        assert data_dir is not None
        if builder.TAKES_RULES and not builder.READS_DICOM:
            raise errors.ConfigError(
                f"data.builder {config.data.builder} reads no generated patients: set "
                "data.source = 'manual'"
            )
        manual_dir = _write_phantoms(config, data_dir, dicom=builder.READS_DICOM)
    data = prepared.prepare(
        builder,
        cohort=config.data.cohort,
        data_dir=data_dir,
        manual_dir=manual_dir,
        workers=config.data.workers,
        **(_clinical_settings(config) if builder.TAKES_RULES else {}),
    )
    for note in data.notes({**note_kinds.REFUSING, **note_kinds.DOUBTFUL}):
        logger.warning("note: %s", note)
    return data.seen_as(sites.get(config.site))


def _write_phantoms(
    config: ml_collections.ConfigDict, data_dir: Path, *, dicom: bool
) -> Path:
    """Write the generated patients of `config`; returns their folder."""
    seed, workers = config.data.phantom_seed, config.data.workers
    train, validation, test = config.data.phantom_patients
    if dicom:
        folder = data_dir / "phantom-dicom"
        count = train + validation + test
        dicom_cohort.write_cohort(folder, seed=seed, patients=count, workers=workers)
        return folder
    folder = data_dir / "phantom"
    head_and_neck.write_cohort(
        folder, seed=seed,
        train=train, validation=validation, test=test, workers=workers,
    )  # fmt: skip
    return folder


def _clinical_settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Further arguments of a builder of a clinic's patients: site and rules."""
    data = config.data
    generated = data.source == "phantom"
    rules = patient_folders.Rules(
        options=reader.Options(
            allow_frame_mismatch=data.allow_frame_mismatch,
            allow_missing=data.allow_missing,
            fill_gaps=data.fill_gaps,
            accept=note_kinds.check_names(data.accept),
        ),
        mapping_file=Path(data.roi_mapping) if data.roi_mapping else None,
        splits_file=Path(data.splits_csv) if data.splits_csv else None,
        split_ratio=tuple(data.phantom_patients if generated else data.split_ratio),
        split_seed=data.split_seed,
        salt="phantom" if generated else None,
    )
    refused = data.refused_patients
    return {"site": sites.get(config.site), "rules": rules, "refused": refused}
