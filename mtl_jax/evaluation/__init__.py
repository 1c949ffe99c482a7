"""Predicted volumes to figures of a patient and of a split, beside yardsticks."""
