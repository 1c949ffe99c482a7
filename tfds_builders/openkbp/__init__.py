"""The data set `openkbp`: importing it makes TFDS know the builder."""

from tfds_builders.openkbp import openkbp_dataset_builder as openkbp_dataset_builder
