"""Examples of a data set -> batches that a network is trained on."""
