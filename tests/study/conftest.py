"""A tiny run on generated patients, as a user starts it."""

import os
import subprocess
import sys

import pytest

from mtl_jax.sources import phantom

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


class Command:
    """`python -m mtl_jax.main` with tiny settings, on one set of phantoms."""

    def __init__(self, data_dir):
        self.data_dir = data_dir

    def start(
        self, workdir, *flags, module="main", config="configs/demo.py", **settings
    ):
        """The running process; settings are configuration keys with __ for a dot."""
        changes = TINY | {key.replace("__", "."): str(v) for key, v in settings.items()}
        arguments = [f"--config.{key}={value}" for key, value in changes.items()]
        return subprocess.Popen(
            [
                *(sys.executable, "-m", f"mtl_jax.{module}", f"--config={config}"),
                *(f"--workdir={workdir}", f"--data_dir={self.data_dir}"),
                *(*arguments, *flags),
            ],
            env=os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, workdir, *flags, **settings):
        """(exit status, stdout, stderr) of a run to its end."""
        process = self.start(workdir, *flags, **settings)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    phantom.write_cohort(data_dir / "phantom", seed=0, train=2, validation=1, test=1)
    return Command(data_dir)
