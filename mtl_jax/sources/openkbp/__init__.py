"""The OpenKBP challenge's CSV files to Patients."""
