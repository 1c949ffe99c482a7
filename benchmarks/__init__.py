"""Measurements, each `python -m benchmarks.NAME`; they print Markdown tables."""
