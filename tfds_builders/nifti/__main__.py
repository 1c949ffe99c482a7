"""Build the data set `nifti` without TensorFlow: flags and wiring.

    python -m tfds_builders.nifti --site=SITE --manual_dir=DIR [--data_dir=DIR]

DIR has a dataset.json of nnU-Net or of MONAI's decathlon. SITE is a site of core/sites,
or the path of a site file (configs/sites/lung.yaml).

Exit status: 0 built, or there already; 1 bad input, with one message; 2 usage.
"""

import sys

from mtl_jax.datasets import prepared
from tfds_builders import command, flags
from tfds_builders.dicom import command as dicom_command
from tfds_builders.nifti import nifti_dataset_builder


def main(arguments: list[str]) -> int:
    """Build, print a summary, and return the exit status."""
    chosen = flags.nifti(arguments)
    builder_class = nifti_dataset_builder.Builder
    return command.run(
        lambda: prepared.open_directory(dicom_command.build(builder_class, chosen))
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
