"""A folder of clinical patients: their ids, their splits, and the reading of each."""
