"""A folder of clinical patients: who they are, who is in which split."""
