"""The TFDS builder `dicom`: patients of any site as DICOM-RT, a slice an example.

Input: a folder with one folder of DICOM files per patient, and the site (core/sites, or
a site file). Output: a TFDS data set with one shard per patient.
"""

import logging
from pathlib import Path
from typing import Any, ClassVar, Literal

import tensorflow_datasets as tfds

from mtl_jax.core import errors
from mtl_jax.sources.clinical import dicom_patient, patient_folders
from tfds_builders import shared_builder

logger = logging.getLogger("mtl_jax")


class Builder(shared_builder.PatientBuilder):
    """Patients of a clinic: CT, contours and dose from folders of DICOM files.

    `site` is required here; a subclass may set SITE as its default.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(
            name="own", description="Every patient of the manual_dir that can be read."
        ),
        tfds.core.BuilderConfig(name="phantom", description="Generated patients."),
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "own"
    MANUAL_DOWNLOAD_INSTRUCTIONS = patient_folders.INSTRUCTIONS

    TAKES_RULES = True
    READS_DICOM = True
    PLANE = (None, None)
    # A planning CT with its masks and dose has some 300 MB in memory.
    PER_SHARD = 1
    HOMEPAGE = "https://doi.org/10.1088/1361-6560/adb23d"
    READ = staticmethod(dicom_patient.read_patient)

    def __init__(
        self,
        *,
        rules: patient_folders.Rules = patient_folders.DEFAULT_RULES,
        refused: Literal["skip", "error"] = "skip",
        **kwargs: Any,
    ) -> None:
        self.rules = rules
        self._refused = refused
        # Why patients were refused, by id, in the last build.
        self.refusals: dict[str, str] = {}
        super().__init__(**kwargs)

    def locate(self, manual_dir: Path) -> patient_folders.Location | None:
        patient_folders.check_apart(Path(self.data_path), manual_dir, "data_dir")
        return patient_folders.locate(manual_dir, self.site, self.rules)

    def download(
        self, dl_manager: tfds.download.DownloadManager
    ) -> patient_folders.Location:
        del dl_manager
        raise errors.DatasetError(
            "the manual_dir is empty, and no public archive of this site is known: "
            f"{self.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )

    def refuse(self, patient_id: str, error: errors.MtlError) -> None:
        if self._refused == "error":
            raise errors.SourceError(f"patient {patient_id}: {error}") from None
        self.refusals[patient_id] = str(error)
        logger.warning("patient %s is left out: %s", patient_id, error)
