"""A tiny run on generated patients, as a user starts it."""

import ast
import contextlib
import fcntl
import importlib
import io
import logging
import os
import signal
import subprocess
import sys
import time

import ml_collections
import pytest
from absl.testing import flagsaver

from mtl_jax.run import command as run_command
from mtl_jax.run import one_run, wiring
from mtl_jax.sources.phantom import head_and_neck
from mtl_jax.train import writers

WHOLE = one_run.prepare_train_evaluate
TINY = {
    "data.phantom_patients": "(2,1,1)",
    "data.image_size": "(32,32)",
    "data.image_spacing_mm": "14.0",
    "model.width": "4",
    "model.decoder_widths": "(8,8,4,4,4)",
    "model.bottleneck_width": "8",
    "train.batch_size": "4",
    "train.log_every": "2",
    "evaluate.batch_size": "16",
    "evaluate.checkpoint": "newest",
}


# The same programs as in test_main: compiled once, kept in the cache.
STUDY = {
    "module": "study",
    "train__steps": 4,
    "train__checkpoint_every": 2,
    "train__validate_every": 4,
    "train__images_every": 4,
    "dwa__interval_steps": 4,
}


def configure(config="configs/demo.py", **settings) -> ml_collections.ConfigDict:
    """The configuration of `Command.line`, for one device."""
    file, *role = config.split(":")
    name = file.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(f"mtl_jax.{name}")
    made = module.get_config(*role)
    made.update_from_flattened_dict(
        {key: _value(text) for key, text in _changes(settings).items()}
    )
    made.train.devices = 1
    return made


def _changes(settings):
    """Text of each key that differs from the configuration's file."""
    return TINY | {key.replace("__", "."): str(v) for key, v in settings.items()}


def _value(text):
    """What a flag makes of `text`: a number, a tuple, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def environment():
    """That of a command which finds one device."""
    return os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}


def kill_in_training(process, log, rows, delay):
    """SIGKILL `delay` seconds after `log` has more than `rows`; False if it ended."""
    while process.poll() is None and len(writers.read_json_lines(log)) <= rows:
        time.sleep(0.02)
    time.sleep(delay)
    alive = process.poll() is None
    if alive:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


class Command:
    """`python -m mtl_jax.main` with tiny settings, on one set of phantoms."""

    def __init__(self, data_dir):
        self.data_dir = data_dir

    def line(
        self, workdir, *flags, module="main", config="configs/demo.py", **settings
    ):
        """Program and flags; settings are configuration keys with __ for a dot."""
        changes = _changes(settings).items()
        arguments = [f"--config.{key}={value}" for key, value in changes]
        return [
            *(sys.executable, "-m", f"mtl_jax.{module}", f"--config={config}"),
            *(f"--workdir={workdir}", f"--data_dir={self.data_dir}"),
            *(*arguments, *flags),
        ]

    def start(self, workdir, *flags, **settings):
        """The running process."""
        return subprocess.Popen(
            self.line(workdir, *flags, **settings),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, workdir, *flags, **settings):
        """(exit status, stdout, stderr) of a run to its end."""
        process = self.start(workdir, *flags, **settings)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err

    def call(self, workdir, *, run=WHOLE, flags=None, **settings):
        """As `run`, but in this process, and one run only up to the evaluation.

        Args:
            workdir: of the run or study.
            run: what the command does, from after the flags on.
            flags: values of other flags, by name.
            settings: configuration keys, as of `line`.
        """

        def config():
            checked = wiring.check(configure(**settings))
            if run is WHOLE:
                checked.evaluate.splits = ()
            return checked

        def prepare(config):
            return run_command.prepare_in(
                config, data_dir=self.data_dir, manual_dir=None
            )

        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            flagsaver.flagsaver(**(flags or {})),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _logged_to(err),
        ):
            patch.setattr(run_command, "config", config)
            patch.setattr(run_command, "workdir", lambda below="": workdir)
            patch.setattr(run_command, "prepare", prepare)
            status = run_command.status_of(run)
        return status, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _logged_to(stream):
    """What the package logs is written to `stream`."""
    logger, handler = logging.getLogger("mtl_jax"), logging.StreamHandler(stream)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def once(tmp_path_factory, name, make):
    """The folder that `make` fills, by whichever of xdist's workers comes first."""
    root = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        root = root.parent
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            done.write_text(make(folder) or "")
    return folder, done.read_text()


def on_phantoms(tmp_path_factory):
    """The command on three phantoms and one to test on."""

    def make(folder):
        head_and_neck.write_cohort(
            folder / "phantom", seed=0, train=2, validation=1, test=1
        )

    return Command(once(tmp_path_factory, "phantoms", make)[0])
