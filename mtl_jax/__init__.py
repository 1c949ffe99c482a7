"""Multi-task contouring and dose prediction for radiotherapy, in JAX.

`load_model` gives a trained network, whose `predict` takes CTs of NumPy, nibabel,
SimpleITK and pydicom, or a `Patient`; `evaluate` compares what it predicts with what
was planned; `open_dataset` gives patients; `fit` trains. The names of `__all__` stay;
all modules are private. They are imported when they are first used: `import mtl_jax`
imports no JAX.
"""

import importlib
import importlib.util
import pathlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_jax.core import errors, geometry
    from mtl_jax.interface import evaluated, fitted, opened, patients, trained

    Dataset, Patients = opened.Dataset, opened.Patients
    Evaluation = evaluated.Evaluation
    Grid = geometry.Grid
    Model, Prediction = trained.Model, trained.Prediction
    MtlError = errors.MtlError
    Patient = patients.Patient
    TrainedRun = fitted.TrainedRun
    evaluate = evaluated.evaluate
    fit = fitted.fit
    load_model = trained.load_model
    open_dataset = opened.open_dataset

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "Evaluation",
    "Grid",
    "Model",
    "MtlError",
    "Patient",
    "Patients",
    "Prediction",
    "TrainedRun",
    "evaluate",
    "fit",
    "load_model",
    "open_dataset",
]

_HOMES = {
    "Dataset": "mtl_jax.interface.opened",
    "Evaluation": "mtl_jax.interface.evaluated",
    "Grid": "mtl_jax.core.geometry",
    "Model": "mtl_jax.interface.trained",
    "MtlError": "mtl_jax.core.errors",
    "Patient": "mtl_jax.interface.patients",
    "Patients": "mtl_jax.interface.opened",
    "Prediction": "mtl_jax.interface.trained",
    "TrainedRun": "mtl_jax.interface.fitted",
    "evaluate": "mtl_jax.interface.evaluated",
    "fit": "mtl_jax.interface.fitted",
    "load_model": "mtl_jax.interface.trained",
    "open_dataset": "mtl_jax.interface.opened",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mtl_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
