"""Benchmarks: `python -m benchmarks.NAME` measures and prints a Markdown table."""
