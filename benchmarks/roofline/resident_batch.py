"""What makes a batch of slices that stay on the devices (`data.on_device`), as shapes.

Input: a run without data. Output: the shapes of the table of slices and of the rows
that `train.resident.unpacked` takes.
"""

import types
from typing import Any

import jax
import numpy as np

from mtl_jax.core import geometry
from mtl_jax.datasets import examples
from mtl_jax.pipeline import batches, resident
from mtl_jax.run import wiring

# Some more than OpenKBP's 200 training patients have.
SLICES = 25_000


def shapes(run: wiring.Run, size: int) -> tuple[Any, Any]:
    """Shapes of a table of `SLICES` slices, and of a batch of `size` rows."""
    walk = batches.Walk(np.zeros(size, np.int64), 0, size, size, 0)
    made = resident.training(_one_slice(run), walk, run.preprocess, run.augment)
    assert made.table is not None
    table = {
        "slices": jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((SLICES, *x.shape[1:]), x.dtype),
            made.table["slices"],
        ),
        "rules": jax.tree.map(_shape, made.table["rules"]),
    }
    return table, jax.tree.map(_shape, dict(made.batch(0)))


def _shape(array: np.ndarray) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)


def _one_slice(run: wiring.Run) -> Any:
    """A split of one patient with one slice, on the network's grid."""
    preprocess = run.preprocess
    size = tuple(preprocess.image_size)
    spacing_mm = (1.0, *2 * (preprocess.image_spacing_mm or 1.0,))
    masks = np.zeros(size, np.uint16)
    example = {
        "ct": np.zeros(size, np.int16),
        "dose_gy": np.zeros(size, np.float32),
        "masks": masks,
        "predicted": masks,
        "target_distance": np.zeros(size, np.int16),
        "present": np.zeros(len(preprocess.site.names), bool),
        "has_dose": True,
        "slice": 0,
        "spacing_mm": np.array(spacing_mm),
    }
    grid = geometry.Grid((1, *size), spacing_mm)
    entry = examples.PatientEntry(
        "none", 0, 1, grid, (), True, True, np.ones(1, bool), None
    )
    return types.SimpleNamespace(source=[example], patients=(entry,), name="train")
