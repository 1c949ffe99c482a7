"""A seed to generated patients, as Patients or as DICOM-RT files."""
