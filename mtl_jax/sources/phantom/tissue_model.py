"""The tissue of one phantom, and the frame that its anatomy is described in.

Input: the voxel centres of a scan, and the patient's pose in it. Output: the same
voxels as coordinates in an average adult's frame, and a TissueModel to fill with shapes
there. So one description of the anatomy serves every size, tilt and position.

Lengths are in mm: x grows to the patient's left, y to the posterior, z to the head.
Each anatomy names its origin.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Length = float | np.ndarray  # mm; an array holds one value for each voxel


@dataclasses.dataclass(frozen=True)
class Space:
    """Voxel centres in the average adult's frame: x, y, z, each [Z, Y, X] in mm."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray

    def ball(self, centre: npt.ArrayLike, radii: npt.ArrayLike) -> np.ndarray:
        """Distance from `centre` in units of `radii`: 1 on the ellipsoid's surface."""
        (x, y, z), (rx, ry, rz) = np.asarray(centre), np.asarray(radii)
        return np.sqrt(
            np.square((self.x - np.float32(x)) / np.float32(rx))
            + np.square((self.y - np.float32(y)) / np.float32(ry))
            + np.square((self.z - np.float32(z)) / np.float32(rz))
        )

    def tube(self, x: Length, y: Length, rx: Length, ry: Length) -> np.ndarray:
        """In-plane distance from the line (x, y) in units of the radii."""
        x, y, rx, ry = (np.asarray(length, np.float32) for length in (x, y, rx, ry))
        return np.hypot((self.x - x) / rx, (self.y - y) / ry)

    def between(self, low: float, high: float) -> np.ndarray:
        """Whether a voxel's z lies between `low` and `high`."""
        return (self.z > low) & (self.z < high)

    def profile(self, z_knots: Sequence[float], values: Sequence[float]) -> np.ndarray:
        """`values` at the heights `z_knots`, interpolated linearly to every voxel."""
        fine = np.arange(-160, 161, dtype=np.float32)
        table = np.interp(fine, z_knots, values).astype(np.float32)
        return table[np.clip(np.rint(self.z) + 160, 0, 320).astype(np.intp)]


@dataclasses.dataclass(frozen=True)
class Pose:
    """How the patient lies in the scan: rotation, scale and shift of the frame."""

    turn_rad: float  # about z: in the plane of the slices
    tilt_rad: float  # about x: chin up or down
    lean_rad: float  # about y: ear to shoulder
    size: tuple[float, float, float]  # relative to the average adult: x, y, z
    origin_mm: tuple[float, float, float]  # the frame's origin in the scan: x, y, z

    def space(self, z_mm: np.ndarray, y_mm: np.ndarray, x_mm: np.ndarray) -> Space:
        """Voxel centres of the scan, given as open axes in mm, in the frame."""
        x, y, z = (
            np.asarray(axis - origin, np.float32)
            for axis, origin in zip((x_mm, y_mm, z_mm), self.origin_mm, strict=True)
        )
        matrix = (_rotation(self) / np.asarray(self.size)[:, None]).astype(np.float32)
        return Space(*(row[0] * x + row[1] * y + row[2] * z for row in matrix))


def _rotation(pose: Pose) -> np.ndarray:
    """Rotation matrix from the scan to the frame, for (x, y, z)."""
    (ct, st), (cx, sx), (cl, sl) = (
        (np.cos(angle), np.sin(angle))
        for angle in (pose.turn_rad, pose.tilt_rad, pose.lean_rad)
    )
    turn = np.array([[ct, st, 0], [-st, ct, 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    lean = np.array([[cl, 0, sl], [0, 1, 0], [-sl, 0, cl]])
    return lean @ tilt @ turn


@dataclasses.dataclass
class TissueModel:
    """The tissue of one patient [Z, Y, X]; shapes filled later cover earlier ones."""

    space: Space
    rng: np.random.Generator
    body: np.ndarray  # bool
    hu: np.ndarray  # float32

    def fill(self, region: np.ndarray, hu: float) -> None:
        """Set the voxels of `region` that lie inside the body to `hu`."""
        self.hu[region & self.body] = hu

    def displaced(self, *centre: float, sd_mm: float = 2.5) -> np.ndarray:
        """`centre` (x, y, z), displaced at random for this patient."""
        return np.asarray(centre) + self.rng.normal(0.0, sd_mm, 3)

    def scaled(self, *radii: float, spread: float = 0.12) -> np.ndarray:
        """`radii`, scaled at random for this patient, together and one by one."""
        together = self.rng.uniform(1 - spread, 1 + spread)
        return np.asarray(radii) * together * self.rng.uniform(0.94, 1.06, len(radii))
