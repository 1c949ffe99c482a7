"""The TFDS builder `openkbp`: the OpenKBP challenge's patients, a slice an example."""

import os
from pathlib import Path
from typing import ClassVar

import requests
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import download_manager, util

from mtl_jax.core import errors, sites
from mtl_jax.sources.openkbp import patient_csv, provided_data
from tfds_builders import shared_builder

# Where the public archive is downloaded from, if not from openkbp.PUBLIC_ARCHIVE.
URL_VARIABLE = "MTL_JAX_OPENKBP_URL"


class Builder(shared_builder.PatientBuilder):
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
        tfds.core.BuilderConfig(name="phantom", description="Generated patients."),
    ]
    DEFAULT_BUILDER_CONFIG_NAME = "paper"
    MANUAL_DOWNLOAD_INSTRUCTIONS = provided_data.WHAT_TO_PUT

    SITE = sites.OPENKBP
    PLANE = (128, 128)
    HOMEPAGE = "https://github.com/ababier/open-kbp"
    READ = staticmethod(patient_csv.parse)

    def locate(self, manual_dir: Path) -> provided_data.Location | None:
        return provided_data.locate(manual_dir)

    def download(
        self, dl_manager: tfds.download.DownloadManager
    ) -> provided_data.Location:
        url = os.environ.get(URL_VARIABLE, provided_data.PUBLIC_ARCHIVE)
        try:
            if not self._is_downloaded(url):
                _check_answer(url)
            path = Path(dl_manager.download(url))
        except download_manager.NonMatchingChecksumError as error:
            raise errors.DatasetError(
                f"the file from {url} has another checksum than checksums.tsv lists "
                f"for it, so it is not the tested archive: {error}. "
                f"If you trust it, {provided_data.WHAT_TO_PUT}"
            ) from error
        except (util.DownloadError, requests.RequestException) as error:
            raise errors.DatasetError(
                f"{self.manual_dir} is empty, and {url} cannot be "
                f"downloaded ({error}); {provided_data.WHAT_TO_PUT}"
            ) from error
        location = provided_data.archive(path, origin=url)
        try:
            location.open().close()
        except errors.SourceError as error:
            # Otherwise TFDS would use it as the archive the next time.
            path.unlink()
            path.with_name(f"{path.name}.INFO").unlink()
            raise errors.DatasetError(
                f"the file from {url} is not the archive ({error}) and was deleted: "
                f"try again, or {provided_data.WHAT_TO_PUT}"
            ) from error
        return location

    def _is_downloaded(self, url: str) -> bool:
        """TFDS keeps a file with the URL beside whatever it has downloaded."""
        records = (self.downloads / self.name).glob("*.INFO")
        return any(url in record.read_text() for record in records)


def _check_answer(url: str) -> None:
    """Raise RequestException without an answer; TFDS would try for three minutes."""
    answer = requests.head(url, allow_redirects=True, timeout=10)
    if answer.status_code not in (405, 501):  # HEAD itself may be unknown
        answer.raise_for_status()
