"""Keeps compiled programs on disk for the next start.

Input: environment variables. Output: JAX's setting of the cache folder.
"""

import os
from pathlib import Path

import jax


def keep_programs() -> None:
    """Cache slow compilations in $XDG_CACHE_HOME/mtl_jax, or ~/.cache/mtl_jax.

    A folder set in $JAX_COMPILATION_CACHE_DIR is used instead, and
    JAX_ENABLE_COMPILATION_CACHE=false still turns caching off.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        jax.config.update("jax_compilation_cache_dir", str(caches / "mtl_jax"))
