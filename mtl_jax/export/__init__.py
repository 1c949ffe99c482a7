"""Predictions as DICOM, NIfTI and OpenKBP files."""
