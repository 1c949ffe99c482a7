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
        flipped = rng.random() < self.flip
        angle, scale = rng.uniform(-1, 1, 2) * (
            np.deg2rad(self.rotation_deg),
            self.scale,
        )
        shift = rng.uniform(-1, 1, 2) * self.translation_px
        if self.rotation_step_deg:
            angle += self._whole_steps(rng)
        if flipped:
            example = self._mirror(example)
        if angle or scale or shift.any():
            example = self._move(example, angle, 1 + scale, shift)
        if self.ct_noise:
            example = {**example, "ct": self._noisy(example["ct"], rng)}
            if "neighbours" in example:
                example["neighbours"] = self._noisy(example["neighbours"], rng)
        return example

    def _whole_steps(self, rng: np.random.Generator) -> float:
        """A multiple of `rotation_step_deg` in radians; all have the same chance."""
        directions = round(360 / self.rotation_step_deg)
        return 2 * np.pi * rng.integers(directions) / directions

    def _noisy(self, ct: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        noise = rng.standard_normal(ct.shape, np.float32)
        noise *= np.float32(self.ct_noise * self.ct_std)
        return ct + noise

    @functools.cached_property
    def _mirrored(self) -> np.ndarray:
        """[S] position of each structure's mirror."""
        names = self.site.names
        return np.array([names.index(s.mirror or s.name) for s in self.site.structures])

    @functools.cached_property
    def _mirrored_bits(self) -> np.ndarray:
        """[65536] uint16: every pattern of mask bits with left and right swapped."""
        patterns = np.arange(1 << mask_bits.MASK_BITS, dtype=np.uint16)
        count = len(self._mirrored)
        swapped = patterns >> count << count  # the possible-dose mask stays
        for old, new in enumerate(self._mirrored):
            swapped |= (patterns >> old & 1) << int(new)
        return swapped

    def _mirror(self, example: records.Example) -> records.Example:
        """`example` with left and right swapped, in the plane and in the names."""

        def swap(field: str, image: np.ndarray) -> np.ndarray:
            image = image[:, ::-1]
            return self._mirrored_bits[image] if field in records.MASKS else image

        return {
            **records.change_images(example, swap),
            "present": np.asarray(example["present"])[self._mirrored],
        }

    def _move(
        self, example: records.Example, angle: float, scale: float, shift: np.ndarray
    ) -> records.Example:
        """`example` rotated and scaled about its centre, then shifted by (y, x)."""
        cosine, sine = np.cos(angle), np.sin(angle)
        # affine_transform maps output pixels to input pixels: the inverse transform.
        matrix = np.array([[cosine, -sine], [sine, cosine]]) / scale
        centre = (np.asarray(example["ct"].shape) - 1) / 2
        offset = centre - matrix @ (centre + shift)

        def read(field: str, image: np.ndarray) -> np.ndarray:
            reading = resampling.reading(field, self.site)
            # "grid-constant": a pixel 1e-16 beyond the border is not outside.
            mode = "nearest" if reading.outside is None else "grid-constant"
            return ndimage.affine_transform(
                image, matrix, offset, output=reading.dtype, order=reading.order,
                mode=mode, cval=reading.outside or 0, prefilter=False,
            )  # fmt: skip

        return records.change_images(example, read)
