"""The data set `dicom`: importing it makes TFDS know the builder."""

from tfds_builders.dicom import dicom_dataset_builder as dicom_dataset_builder
