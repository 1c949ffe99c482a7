"""Faster forms of the networks' operations, equal to the plain ones to rounding."""
