"""Patients to TFDS examples and back: splits, examples, prepared data sets."""
