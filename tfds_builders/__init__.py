"""TFDS builders: a folder for each site's data set."""
