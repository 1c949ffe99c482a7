"""The TFDS builder `openkbp`: the OpenKBP challenge's patients, a slice an example."""

import os
from pathlib import Path
from typing import ClassVar

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager, downloader

from mtl_jax.core import errors, sites
from mtl_jax.sources import openkbp
from tfds_builders import patients

# Where the public archive is downloaded from, if not from openkbp.PUBLIC_ARCHIVE.
URL_VARIABLE = "MTL_JAX_OPENKBP_URL"


class Builder(patients.PatientBuilder):
    """OpenKBP: 340 head-and-neck patients with CT, contours and dose."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(
            name="paper",
            description="Train and validation whole; the test patients that have all "
            "four organs which Kim et al. 2024 contour.",
        ),
        tfds.core.BuilderConfig(name="official", description="Every patient."),
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "paper"
    MANUAL_DOWNLOAD_INSTRUCTIONS = openkbp.WHAT_TO_PUT

    SITE = sites.OPENKBP
    PLANE = (128, 128)
    HOMEPAGE = "https://github.com/ababier/open-kbp"
    READ = staticmethod(openkbp.parse)

    @classmethod
    def locate(cls, manual_dir: Path) -> openkbp.Location | None:
        return openkbp.locate(manual_dir)

    def download(self, dl_manager: tfds.download.DownloadManager) -> openkbp.Location:
        url = os.environ.get(URL_VARIABLE, openkbp.PUBLIC_ARCHIVE)
        try:
            path = Path(dl_manager.download(url))
        except download_manager.NonMatchingChecksumError as error:
            raise errors.DatasetError(
                f"what {url} sent has another checksum than the one on record: {error}"
            ) from error
        except (downloader.DownloadError, requests.RequestException) as error:
            raise errors.DatasetError(
                f"nothing in {self._manual_dir}, and {url} cannot be downloaded "
                f"({error}); {openkbp.WHAT_TO_PUT}"
            ) from error
        return openkbp.archive(path)
