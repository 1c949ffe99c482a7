"""The data set `nifti`: importing it makes TFDS know the builder."""

from tfds_builders.nifti import nifti_dataset_builder as nifti_dataset_builder
