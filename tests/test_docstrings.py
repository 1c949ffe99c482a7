"""The examples in docstrings, run as they stand."""

import doctest
import importlib

import pytest

# Modules whose functions users call, with the number of functions that show an example.
MODULES = {
    "mtl_jax.core.body_region": 1,
    "mtl_jax.core.contour_geometry": 2,
    "mtl_jax.core.errors": 1,
    "mtl_jax.core.geometry": 3,
    "mtl_jax.core.metric_names": 1,
    "mtl_jax.core.roles": 1,
    "mtl_jax.inference.postprocess": 2,
    "mtl_jax.metrics.dvh": 3,
    "mtl_jax.metrics.openkbp": 3,
    "mtl_jax.metrics.surface": 2,
    "mtl_jax.run.validation_score": 1,
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name):
    module = importlib.import_module(name)
    found = [t for t in doctest.DocTestFinder().find(module) if t.examples]
    assert len(found) >= MODULES[name]
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
