"""From a CT and a checkpoint to files that other software opens."""
