"""The TFDS builder `nifti`: patients of any site as NIfTI files, a slice an example.

Input: a folder with `dataset.json`, in nnU-Net's raw layout or MONAI's decathlon, and
the site (core/sites, or a site file). Output: a TFDS data set with one shard per
patient, with the rules, notes and refusals of the builder `dicom`.
"""

from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from mtl_jax.sources.clinical import patient_folders
from mtl_jax.sources.nifti import nifti_cohort, nifti_patient
from tfds_builders.dicom import dicom_dataset_builder


class Builder(dicom_dataset_builder.Builder):
    """Patients of a clinic: CT, contours and dose from NIfTI files."""

    # TFDS would look for README and citation in the parent's folder if that was loaded
    # first.
    pkg_dir_path = None
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(
            name="own", description="Every patient of the manual_dir that can be read."
        )
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = nifti_cohort.INSTRUCTIONS
    READS_DICOM = False
    READ = staticmethod(nifti_patient.read_patient)

    def locate(self, manual_dir: Path) -> nifti_cohort.Location | None:
        patient_folders.check_apart(Path(self.data_path), manual_dir, "data_dir")
        return nifti_cohort.locate(manual_dir, self.site, self.rules)
