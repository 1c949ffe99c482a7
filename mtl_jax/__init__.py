"""Multi-task contouring and dose prediction for radiotherapy, in JAX."""

import importlib.util
import pathlib
import sys
import types

__version__ = "0.1.0"


def _configurations_of_the_checkout() -> types.ModuleType | None:
    """The folder `configs` of a checkout as `mtl_jax.configs`.

    None in an installed package: there the folder is inside this one (pyproject.toml).
    """
    here = pathlib.Path(__file__).parent
    if (here / "configs").is_dir():
        return None
    spec = importlib.util.spec_from_file_location(
        "mtl_jax.configs", here.parent / "configs" / "__init__.py"
    )
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if _found := _configurations_of_the_checkout():
    configs = _found
