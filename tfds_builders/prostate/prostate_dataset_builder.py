"""The TFDS builder `prostate`: the builder `dicom` with the paper's second site.

Its data sets are called `prostate` whatever the site, as in versions that had no
builder `dicom`: configurations with another `site` go on working.
"""

from mtl_jax.core import sites
from tfds_builders.dicom import dicom_dataset_builder


class Builder(dicom_dataset_builder.Builder):
    """Patients of a clinic, by default of the site prostate."""

    SITE = sites.PROSTATE
    # TFDS would look for README and citation in the parent's folder if that was loaded
    # first.
    pkg_dir_path = None
