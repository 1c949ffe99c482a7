"""What the odd patients are made of, as functions of the place in the patient, in mm.

Everything is known where it is asked for: the CT's value, the dose, and whether a place
is inside a shape. x grows to the left, y to the back, z to the head.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Raster:
    """Voxel centres along the patient's axes; all in the order x, y, z."""

    first_mm: tuple[float, float, float]
    step_mm: tuple[float, float, float]
    count: tuple[int, int, int]

    def axis(self, number: int) -> np.ndarray:
        """The centres in mm along x (0), y (1) or z (2)."""
        steps = np.arange(self.count[number]) * self.step_mm[number]
        return self.first_mm[number] + steps

    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y and z in mm of each voxel, in arrays [Z, Y, X]."""
        z, y, x = np.meshgrid(*(self.axis(n) for n in (2, 1, 0)), indexing="ij")
        return x, y, z


CT = Raster((-46.5, -46.0, -225.0), (3.0, 4.0, 5.0), (32, 24, 10))
# Its last centres are at the CT's or beyond.
DOSE = Raster((-48.0, -48.0, -228.0), (4.0, 5.0, 6.0), (25, 20, 9))


def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whole HU of a body with a gradient, in air: no two places in it are alike."""
    tissue = np.rint(20 + 0.4 * x - 0.3 * y + 0.2 * (z + 200))
    return np.where((x / 44) ** 2 + (y / 42) ** 2 < 1, tissue, -1000.0)


def dose_gy(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A dose that is linear, so that interpolation between its voxels is exact."""
    return 50 + 0.06 * x - 0.04 * y + 0.05 * (z + 200)


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: tuple[float, float]
    y: tuple[float, float]

    def points(self) -> list[tuple[float, float]]:
        (left, right), (front, back) = self.x, self.y
        return [(left, front), (right, front), (right, back), (left, back)]

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (self.x[0] < x) & (x < self.x[1]) & (self.y[0] < y) & (y < self.y[1])


@dataclasses.dataclass(frozen=True)
class Ellipse:
    """An ellipse; its outline of 48 points is up to 0.2 % smaller."""

    centre: tuple[float, float]
    radius: tuple[float, float]

    def points(self) -> list[tuple[float, float]]:
        angle = np.arange(48) * np.pi / 24
        x = self.centre[0] + self.radius[0] * np.cos(angle)
        y = self.centre[1] + self.radius[1] * np.sin(angle)
        return list(zip(x.tolist(), y.tolist(), strict=True))

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        across = (x - self.centre[0]) / self.radius[0]
        down = (y - self.centre[1]) / self.radius[1]
        return across**2 + down**2 < 1


@dataclasses.dataclass(frozen=True)
class Triangle:
    """A triangle."""

    corners: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]

    def points(self) -> list[tuple[float, float]]:
        return list(self.corners)

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        sides = []
        for (x0, y0), (x1, y1) in zip(
            self.corners, (*self.corners[1:], self.corners[0]), strict=True
        ):
            sides.append((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0)
        return (sides[0] == sides[1]) & (sides[1] == sides[2])


Shape = Box | Ellipse | Triangle

# The ROIs of the plain patient: a shape, and the slices it is drawn on.
ROIS: dict[str, tuple[Shape, range]] = {
    "Prostate": (Ellipse((0.7, -1.0), (13.1, 12.2)), range(3, 7)),
    "Rectum": (Box((-9.4, 8.2), (16.3, 33.1)), range(1, 9)),
    "Bladder": (Ellipse((1.1, -23.0), (15.2, 10.7)), range(5, 9)),
    "Femur_L": (Box((27.2, 40.1), (-8.9, 7.3)), range(1, 8)),
    "Femur_R": (Box((-40.1, -27.2), (-4.9, 11.3)), range(1, 8)),
    "PTV_6000": (Ellipse((0.7, -1.0), (18.3, 17.1)), range(2, 8)),
}


def mask(*drawn: tuple[Shape, range], raster: Raster = CT) -> np.ndarray:
    """[Z, Y, X] bool: the voxels whose centres one of the shapes holds."""
    x, y, _ = raster.places()
    inside = np.zeros(x.shape, bool)
    for shape, slices in drawn:
        on = np.isin(np.arange(len(x)), list(slices))[:, None, None]
        inside |= on & shape.holds(x, y)
    return inside
