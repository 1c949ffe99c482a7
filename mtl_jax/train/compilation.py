"""Compiled programs, kept for the next start."""

import os
from pathlib import Path

import jax


def keep_programs() -> None:
    """Keep what takes long to compile in $XDG_CACHE_HOME/mtl_jax, or ~/.cache/mtl_jax.

    A folder of the user's own ($JAX_COMPILATION_CACHE_DIR) stays, and so does JAX's
    switch, JAX_ENABLE_COMPILATION_CACHE=false.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(home / "mtl_jax"))
