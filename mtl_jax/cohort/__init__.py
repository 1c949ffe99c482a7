"""The command that reports what a folder of DICOM patients holds."""
