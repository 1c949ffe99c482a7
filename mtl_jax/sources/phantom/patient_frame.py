"""The frame in which phantoms are described, and the pose that carries a scan into it.

The frame is an average adult's, in mm: x to the patient's left, y to the posterior, z
to the head, the origin in the spinal canal at the skull base. Voxel centres of a scan
go in; their coordinates in that frame come out, so one description of the anatomy
serves every size, tilt and position.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mtl_jax.core import geometry

Length = float | np.ndarray  # in mm; an array holds a value for every voxel


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
        return (self.z > low) & (self.z < high)

    def along(self, z_knots: Sequence[float], values: Sequence[float]) -> np.ndarray:
        """`values` at the heights `z_knots`, linearly between, for every voxel."""
        fine = np.arange(-160, 161, dtype=np.float32)
        table = np.interp(fine, z_knots, values).astype(np.float32)
        return table[np.clip(np.rint(self.z) + 160, 0, 320).astype(np.intp)]


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where the patient lies: average-adult frame -> scan, about the skull base."""

    turn_rad: float  # about z, seen in the slices
    tilt_rad: float  # about x: chin up or down
    lean_rad: float  # about y: ear to shoulder
    size: tuple[float, float, float]  # x, y, z
    origin_mm: tuple[float, float, float]  # skull base in the scan: x, y, z

    def space(self, z_mm: np.ndarray, y_mm: np.ndarray, x_mm: np.ndarray) -> Space:
        """The voxels at these places of the scan (open axes) in the frame."""
        x, y, z = (
            np.asarray(axis - origin, np.float32)
            for axis, origin in zip((x_mm, y_mm, z_mm), self.origin_mm, strict=True)
        )
        matrix = (_rotation(self) / np.asarray(self.size)[:, None]).astype(np.float32)
        return Space(*(row[0] * x + row[1] * y + row[2] * z for row in matrix))


def draw_pose(rng: np.random.Generator, grid: geometry.Grid) -> Pose:
    """A pose with the skull base somewhere around the middle of `grid`."""
    middle_mm = (np.asarray(grid.shape) - 1) / 2 * np.asarray(grid.spacing_mm)
    shift_mm = rng.uniform((-60, -42, -42), (90, 42, 42))
    z, y, x = middle_mm + shift_mm
    turn, tilt, lean = np.radians(rng.uniform((-20, -6, -4), (20, 6, 4)))
    size = rng.uniform(0.86, 1.03) * rng.uniform(0.96, 1.04, 3)
    return Pose(turn, tilt, lean, tuple(size), (x, y + 24.0, z))


def _rotation(pose: Pose) -> np.ndarray:
    """Rotation from the scan to the frame, on (x, y, z)."""
    (ct, st), (cx, sx), (cl, sl) = (
        (np.cos(angle), np.sin(angle))
        for angle in (pose.turn_rad, pose.tilt_rad, pose.lean_rad)
    )
    turn = np.array([[ct, st, 0], [-st, ct, 0], [0, 0, 1]])
    tilt = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    lean = np.array([[cl, 0, sl], [0, 1, 0], [-sl, 0, cl]])
    return lean @ tilt @ turn
