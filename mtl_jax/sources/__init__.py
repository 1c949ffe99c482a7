"""Raw files to Patients: one module a format."""
