"""Generated patients (phantoms), as Patients or as DICOM-RT files, from a seed."""
