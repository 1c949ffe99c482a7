"""A tiny run on generated patients, as a user starts it."""

import fcntl
import os
import signal
import subprocess
import sys
import time

from mtl_jax.sources.phantom import head_and_neck
from mtl_jax.train import writers

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
        changes = TINY | {key.replace("__", "."): str(v) for key, v in settings.items()}
        arguments = [f"--config.{key}={value}" for key, value in changes.items()]
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
