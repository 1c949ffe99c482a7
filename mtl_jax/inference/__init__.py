"""From batches of slices to volumes on the patient's own grid."""
