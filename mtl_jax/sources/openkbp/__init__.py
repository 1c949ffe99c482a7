"""The OpenKBP challenge's CSV files as Patients."""
