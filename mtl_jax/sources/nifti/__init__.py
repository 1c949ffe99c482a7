"""NIfTI images, and data sets in the layouts of nnU-Net and MONAI."""
