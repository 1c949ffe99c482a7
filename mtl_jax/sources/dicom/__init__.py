"""Clinical DICOM-RT files to Patients."""
