"""A configuration that Python code gives: a name, a file, or the configuration itself.

Input: what a user gives. Output: a checked copy.
"""

from pathlib import Path

import ml_collections

from mtl_jax.pipeline import batches
from mtl_jax.run import config_files, wiring
from mtl_jax.train import compilation

Configuration = str | Path | ml_collections.ConfigDict


def read(configuration: Configuration) -> ml_collections.ConfigDict:
    """The configuration of a name such as `openkbp:multi`, of a file, or a copy.

    Raises:
        ConfigError: there is none of this name, or a key does not fit.
    """
    if isinstance(configuration, str | Path):
        return wiring.check(config_files.load(str(configuration)))
    return wiring.check(configuration.copy_and_resolve_references())


def start() -> None:
    """What a command does before its work: Grain reads flags, JAX keeps programs."""
    batches.take_default_flags()
    compilation.keep_programs()
