"""Random changes of a training example (not in the paper).

Input and output: an example on the network's grid (core/records.Example). All its
images change together. In a mirror image left and right organs exchange their bits.
"""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from mtl_jax.core import errors, records, sites
from mtl_jax.pipeline import mask_bits, resampling


@dataclasses.dataclass(frozen=True)
class Change:
    """What happens to one example: a flip, then rotation, scaling and shift."""

    flipped: bool
    angle: float  # radians
    scale: float
    shift: np.ndarray  # [2] pixels, y and x

    @property
    def moves(self) -> bool:
        """Whether there is more than a flip."""
        return bool(self.angle or self.scale != 1 or self.shift.any())

    def inverse(self, size: tuple[int, ...]) -> np.ndarray:
        """[2, 3]: pixel p of the result shows pixel M p + b of an image of `size`.

        Rotation and scaling are about the image's centre. M is the left part, b the
        last column.
        """
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        matrix = np.array([[cosine, -sine], [sine, cosine]]) / self.scale
        centre = (np.asarray(size) - 1) / 2
        offset = centre - matrix @ (centre + self.shift)
        return np.column_stack([matrix, offset])


@dataclasses.dataclass(frozen=True)
class Augment:
    """A flip, then rotation, shift and scaling in one step, then noise on the CT."""

    site: sites.Site
    flip: float  # probability
    rotation_deg: float  # largest, in both directions
    rotation_step_deg: float  # multiples of it are added to the rotation; 0: none
    translation_px: float  # largest, in both directions
    scale: float  # largest relative change, in both directions
    ct_noise: float  # standard deviation, of the normalised CT
    ct_std: float  # by which the CT is divided when it is normalised

    def __post_init__(self) -> None:
        if not 0 <= self.flip <= 1 or not 0 <= self.scale < 1:
            raise errors.ConfigError(
                f"augment.flip {self.flip} must lie in [0, 1], "
                f"augment.scale {self.scale} in [0, 1)"
            )
        for structure in self.site.structures:
            mirror = structure.mirror
            if mirror and self.site.structure(mirror).mirror != structure.name:
                raise errors.ConfigError(
                    f"site {self.site.name}: the mirror of {structure.name} is "
                    f"{mirror}, but not vice versa; correct core/sites"
                )

    def __call__(
        self, example: records.Example, rng: np.random.Generator
    ) -> records.Example:
        """A changed copy of `example`; all random numbers come from `rng`."""
        change = self.draw(rng)
        if change.flipped:
            example = self._mirror(example)
        if change.moves:
            example = self._move(example, change)
        if self.ct_noise:
            example = {**example, "ct": self._noisy(example["ct"], rng)}
            if "neighbours" in example:
                example["neighbours"] = self._noisy(example["neighbours"], rng)
        return example

    @property
    def may_move(self) -> bool:
        """Whether a change may be more than a flip and noise."""
        return bool(
            self.rotation_deg
            or self.rotation_step_deg
            or self.translation_px
            or self.scale
        )

    def draw(self, rng: np.random.Generator) -> Change:
        """A random change, but for the noise."""
        flipped = bool(rng.random() < self.flip)
        angle, scale = rng.uniform(-1, 1, 2) * (
            np.deg2rad(self.rotation_deg),
            self.scale,
        )
        shift = rng.uniform(-1, 1, 2) * self.translation_px
        if self.rotation_step_deg:
            angle += self._whole_steps(rng)
        return Change(flipped, angle, 1 + scale, shift)

    def _whole_steps(self, rng: np.random.Generator) -> float:
        """A multiple of `rotation_step_deg` in radians; all have the same chance."""
        directions = round(360 / self.rotation_step_deg)
        return 2 * np.pi * rng.integers(directions) / directions

    @property
    def noise(self) -> np.float32:
        """The standard deviation of the noise on stored CT values."""
        return np.float32(self.ct_noise * self.ct_std)

    def _noisy(self, ct: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = rng.standard_normal(ct.shape, np.float32)
        noise *= self.noise
        return ct + noise

    @functools.cached_property
    def mirrored(self) -> np.ndarray:
        """[S] position of each structure's mirror."""
        names = self.site.names
        return np.array([names.index(s.mirror or s.name) for s in self.site.structures])

    @functools.cached_property
    def mirrored_bits(self) -> np.ndarray:
        """[65536] uint16: every pattern of mask bits with left and right swapped."""
        patterns = np.arange(1 << mask_bits.MASK_BITS, dtype=np.uint16)
        count = len(self.mirrored)
        swapped = patterns >> count << count  # the possible-dose mask stays
        for old, new in enumerate(self.mirrored):
            swapped |= (patterns >> old & 1) << int(new)
        return swapped

    def _mirror(self, example: records.Example) -> records.Example:
        """`example` with left and right swapped, in the plane and in the names."""

        def swap(field: str, image: np.ndarray) -> np.ndarray:
            image = image[:, ::-1]
            return self.mirrored_bits[image] if field in records.MASKS else image

        return {
            **records.change_images(example, swap),
            "present": np.asarray(example["present"])[self.mirrored],
        }

    def _move(self, example: records.Example, change: Change) -> records.Example:
        """`example` rotated and scaled about its centre, then shifted."""
        inverse = change.inverse(example["ct"].shape)
        matrix, offset = inverse[:, :2], inverse[:, 2]

        def read(field: str, image: np.ndarray) -> np.ndarray:
            reading = resampling.reading(field, self.site)
            # "grid-constant": a pixel 1e-16 beyond the border is not outside.
            mode = "nearest" if reading.outside is None else "grid-constant"
            return ndimage.affine_transform(
                image, matrix, offset, output=reading.dtype, order=reading.order,
                mode=mode, cval=reading.outside or 0, prefilter=False,
            )  # fmt: skip

        return records.change_images(example, read)
