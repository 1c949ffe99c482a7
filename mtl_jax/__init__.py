"""Multi-task contouring and dose prediction for radiotherapy, in JAX."""

__version__ = "0.1.0"
