"""Metrics of dose and contours on volumes, in NumPy; they know no network."""
