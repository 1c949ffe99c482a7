"""The command that reports what a cohort of DICOM patients holds."""
