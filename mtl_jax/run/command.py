"""The flags, data, signals and exit status that the training commands share.

Input: the command line. Output: a checked configuration, a data set, a working
directory, and the command's exit status.

Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
"""

import errno
import importlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from mtl_jax.core import config as configs
from mtl_jax.core import errors, note_kinds, sites
from mtl_jax.datasets import prepared
from mtl_jax.run import stopping, wiring
from mtl_jax.sources.clinical import patient_folders
from mtl_jax.sources.dicom import reader
from mtl_jax.sources.phantom import dicom_cohort, head_and_neck
from mtl_jax.train import compilation, distributed

logger = logging.getLogger("mtl_jax")

BUILDERS = {
    "openkbp": "tfds_builders.openkbp.openkbp_dataset_builder",
    "dicom": "tfds_builders.dicom.dicom_dataset_builder",
    "prostate": "tfds_builders.prostate.prostate_dataset_builder",
}
# Errors of a disk that is full, read-only or broken.
UNWRITABLE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
)

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration: FILE[:ROLE]; --config.KEY=VALUE changes a value."
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for results; by default a folder of runs/<config>."
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "TFDS's data directory; by default $TFDS_DATA_DIR or ~/tensorflow_datasets.",
)
MANUAL_DIR = flags.DEFINE_string(
    "manual_dir",
    None,
    "Folder of the raw patients; by default <data_dir>/downloads/manual.",
)
# Needed only if JAX does not find the other processes by itself.
COORDINATOR = flags.DEFINE_string(
    "coordinator_address",
    os.environ.get("JAX_COORDINATOR_ADDRESS") or None,
    "HOST:PORT of the first of several processes; by default $JAX_COORDINATOR_ADDRESS.",
)
PROCESSES = flags.DEFINE_integer(
    "num_processes",
    os.environ.get("JAX_NUM_PROCESSES") or None,
    "Number of processes that train together; by default $JAX_NUM_PROCESSES.",
    lower_bound=1,
)
PROCESS = flags.DEFINE_integer(
    "process_id",
    os.environ.get("JAX_PROCESS_ID") or None,
    "Number of this process, from 0; by default $JAX_PROCESS_ID.",
    lower_bound=0,
)


def start(run: Callable[[], int]) -> None:
    """Parse the flags, call `run`, and end with its exit status."""

    def main(argv: list[str]) -> int:
        del argv  # the flags hold all of it
        absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax logs a lot
        logging.getLogger("mtl_jax").setLevel(logging.INFO)
        compilation.keep_programs()
        status = status_of(lambda: _run_connected(run))
        return distributed.leave(status, together=status in (0, stopping.STATUS))

    app.run(main, flags_parser=parse)


def _run_connected(run: Callable[[], int]) -> int:
    """The exit status of `run`, with this process connected to the others."""
    count = PROCESSES.value
    with distributed.connected(COORDINATOR.value, count, PROCESS.value):
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


def parse(argv: list[str]) -> list[str]:
    """Parse the flags; a wrong one exits with one line and status 2 or 1."""
    if {"--help", "-h", "--helpshort"} & set(argv):
        app.usage(shorthelp=True, writeto_stdout=True)
        sys.exit(0)
    try:
        arguments = flags.FLAGS(argv)
        if CONFIG.value is None:
            raise flags.Error(
                "--config=FILE[:ROLE] is missing, e.g. configs/openkbp.py"
            )
        if len(arguments) > 1:
            raise flags.Error(f"unexpected arguments: {' '.join(arguments[1:])}")
    except flags.Error as error:
        sys.exit(errors.print_error(f"{error}; see --help", 2))
    except AttributeError as error:  # an unknown --config.KEY
        names = [word.split("=")[0] for word in argv if word.startswith("--config.")]
        unknown = [key for key in (k[9:] for k in names) if key not in configs.KEYS]
        hints = [f"{key}{errors.nearest(key, configs.KEYS)}" for key in unknown]
        sys.exit(
            errors.print_error(
                f"unknown configuration key {', '.join(hints) or error}", 1
            )
        )
    except OSError as error:  # a configuration file that is missing or does not load
        sys.exit(errors.print_error(f"--config cannot be loaded: {error}", 1))
    return arguments


def config() -> ml_collections.ConfigDict:
    """The configuration of the flags, checked."""
    checked = wiring.check(CONFIG.value)
    distributed.check_same(configs.flatten(checked))
    return checked


def workdir(below: str = "") -> Path:
    """`--workdir`, or by default `runs/<config>/<below>`."""
    if WORKDIR.value:
        return folder(WORKDIR.value)
    filename = config_flags.get_config_filename(flags.FLAGS["config"])
    return Path("runs") / Path(filename).stem / below


def folder(path: str) -> Path:
    """The folder that a flag names; ConfigError if it is a URL."""
    if "://" in path:
        raise errors.ConfigError(
            f"{path} is an address, not a folder: mount the bucket (gcsfuse does), and "
            "give the folder that it is mounted on"
        )
    return Path(path).expanduser()


def prepare(config: ml_collections.ConfigDict) -> prepared.Prepared:
    """The data set of `config` in the flags' directories, built if it is missing."""
    data_dir = folder(
        DATA_DIR.value or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    )
    manual_dir = data_dir / "downloads" / "manual"
    if MANUAL_DIR.value:
        manual_dir = folder(MANUAL_DIR.value)
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
        manual_dir = _write_phantoms(config, data_dir, dicom=builder.READS_DICOM)
    data = prepared.prepare(
        builder,
        cohort=config.data.cohort,
        data_dir=data_dir,
        manual_dir=manual_dir,
        workers=config.data.workers,
        **(_dicom_settings(config) if builder.READS_DICOM else {}),
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


def _dicom_settings(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Further arguments of a builder of DICOM patients: site and reading rules."""
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
