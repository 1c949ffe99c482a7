"""Clinical DICOM-RT files to Patients: one folder in, one Patient and notes out."""
