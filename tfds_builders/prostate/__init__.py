"""The data set `prostate`: importing it makes TFDS know the builder."""

from tfds_builders.prostate import prostate_dataset_builder as prostate_dataset_builder
