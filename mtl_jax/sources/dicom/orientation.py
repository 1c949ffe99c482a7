"""The position of a DICOM image's pixels in the patient, and the canonical order.

Input: the header of an image, and the array of its planes. Output: a Plane, and the
array [z, y, x] with its Grid.

Patient axes: x to the patient's left, y to posterior, z to the head, whatever the
position on the couch: PatientPosition plays no part (PS3.3 C.7.6.2.1.1).
"""

import dataclasses

import numpy as np

from mtl_jax.core import geometry
from mtl_jax.sources.dicom import headers

# Larger parts of a direction are a tilt: 1e-4 moves the edge of an image by 0.03 mm.
STRAIGHT = 1e-4
# No scanner's coordinates reach further.
FAR_MM = 1e5
# A plane whose normal is nearer to another axis than to z is a scout.
AXIAL = np.cos(np.pi / 4)


@dataclasses.dataclass(frozen=True)
class Plane:
    """The pixels of one image, or of the first frame of several."""

    position_mm: np.ndarray  # [3] x, y, z: the centre of the first pixel
    right: np.ndarray  # [3] unit vector of growing columns
    down: np.ndarray  # [3] unit vector of growing rows
    spacing_mm: tuple[float, float]  # from row to row, from column to column
    shape: tuple[int, int]  # rows, columns

    @property
    def normal(self) -> np.ndarray:
        """[3] unit vector: along it DICOM orders planes."""
        return np.cross(self.right, self.down)

    @property
    def is_axial(self) -> bool:
        """Whether the image is roughly across the body, so no scout."""
        return bool(abs(self.normal[2]) > AXIAL)

    def same_raster(self, other: "Plane") -> bool:
        """Whether `other` has the same matrix, spacing and orientation."""
        return self.shape == other.shape and all(
            np.allclose(value, other_value, rtol=1e-4, atol=1e-4)
            for value, other_value in (
                (self.spacing_mm, other.spacing_mm),
                (self.right, other.right),
                (self.down, other.down),
            )
        )


def plane(file: headers.File) -> Plane:
    """The geometry that the header of `file` states; a SourceError if it is none."""
    orientation = np.array(file.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    lengths = np.linalg.norm(orientation, axis=1)
    if np.abs(lengths - 1).max() > 1e-3 or abs(orientation[0] @ orientation[1]) > 1e-3:
        raise file.error(
            "has an ImageOrientationPatient that is not two perpendicular unit "
            "vectors; export it again"
        )
    down_mm, right_mm = file.numbers("PixelSpacing", 2)
    rows, columns = file.numbers("Rows", 1)[0], file.numbers("Columns", 1)[0]
    sizes_mm = (down_mm, right_mm)
    if min(rows, columns) < 1 or min(sizes_mm) < 1e-3 or max(sizes_mm) > FAR_MM:
        raise file.error(
            f"has a PixelSpacing of {down_mm:g} and {right_mm:g} mm, {rows:g} Rows "
            f"and {columns:g} Columns; all must be greater than 0, spacings in mm"
        )
    position_mm = np.array(file.numbers("ImagePositionPatient", 3))
    if np.abs(position_mm).max() > FAR_MM:
        raise file.error(
            f"has an ImagePositionPatient more than {FAR_MM:g} mm from the origin; "
            "export it again"
        )
    return Plane(
        position_mm=position_mm,
        right=orientation[0] / lengths[0],
        down=orientation[1] / lengths[1],
        spacing_mm=(down_mm, right_mm),
        shape=(int(rows), int(columns)),
    )


def check_straight(image: Plane, file: headers.File) -> None:
    """SourceError unless rows and columns run along the patient's axes."""
    normal, right = np.abs(image.normal), np.abs(image.right)
    tilt = max(np.sqrt(max(0, 1 - v.max() ** 2)) for v in (normal, right))
    if tilt > STRAIGHT or not image.is_axial:
        degrees = np.degrees(np.arccos(min(1.0, normal[2], right.max())))
        raise file.error(
            f"is turned by {degrees:.2f} degrees from the patient's axes (gantry tilt, "
            "or an oblique image); export it resampled to axial slices"
        )


def canonical(
    volume: np.ndarray, first: Plane, step_mm: float
) -> tuple[np.ndarray, geometry.Grid]:
    """`volume` [planes, rows, columns] as [z, y, x] on its canonical grid.

    `first` is the straight plane of volume[0]; planes follow every `step_mm` > 0 to
    the head.
    """
    sizes = np.array([step_mm, *first.spacing_mm])
    # Columns: the direction (x, y, z) of the array's axes, made exact.
    axes = np.round(np.stack([(0.0, 0.0, 1.0), first.down, first.right], axis=1))
    order = np.argmax(np.abs(axes), axis=1)[::-1]  # the array's axis along z, y, x
    flipped = axes.sum(axis=0) < 0
    corner = np.where(flipped, np.array(volume.shape) - 1, 0)
    origin = first.position_mm + axes @ (corner * sizes)
    turned = np.flip(volume, tuple(np.flatnonzero(flipped).tolist())).transpose(order)
    z, y, x = sizes[order].tolist()
    grid = geometry.Grid(turned.shape, (z, y, x), tuple(origin.tolist()))
    return np.ascontiguousarray(turned), grid
