"""Turns examples of a data set into rows of a batch, and predictions back.

Input: a stored slice (core/records.Example) on the CT's own grid. Output: a row of a
core/records.Batch on the network's grid. `restore` resamples predicted volumes onto the
CT's grid. Training, evaluation and prediction all use this module.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tqdm

from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import image_channels, mask_bits, resampling


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Turns examples into rows; `image_spacing_mm` 0 keeps the CT's own."""

    site: sites.Site
    structures: tuple[str, ...]  # channels of the contours, in this order
    beside_ct: str  # a key of roles.INPUTS and of image_channels.CHANNELS
    ct_values: image_channels.CtValues
    ct_window: tuple[float, float]
    ct_mean: float
    ct_std: float
    prescription_gy: float
    image_size: tuple[int, int]  # y, x
    image_spacing_mm: float
    further: image_channels.Further
    all_structures: bool = False  # whether a batch has the masks of the whole site

    def __post_init__(self) -> None:
        if not self.ct_std > 0 or not self.prescription_gy > 0:
            raise errors.ConfigError(
                f"ct_std {self.ct_std} and prescription_gy {self.prescription_gy}: "
                "both must be greater than 0"
            )
        self.bits.structure_indices  # noqa: B018 - raises for unknown names

    @functools.cached_property
    def bits(self) -> mask_bits.MaskBits:
        """What the bits of masks mean."""
        return mask_bits.MaskBits(self.site, self.structures, self.prescription_gy)

    @functools.cached_property
    def groups(self) -> tuple[image_channels.Group, ...]:
        """What the image's channels are, in their order; see `image_channels`."""
        offset = image_channels.ct_offset(self.site, self.ct_values)
        window = image_channels.Window(
            offset, *self.ct_window, self.ct_mean, self.ct_std
        )
        return image_channels.groups(self.bits, self.beside_ct, window, self.further)

    @functools.cached_property
    def channel_names(self) -> tuple[str, ...]:
        """[C] names of the image's channels, the same for other sites and roles."""
        return tuple(name for group in self.groups for name in group.names)

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return len(self.channel_names)

    @property
    def structure_names(self) -> tuple[str, ...]:
        """[N] TG-263 names of the contours' channels."""
        return self.bits.structure_names

    @property
    def mirrored_structures(self) -> np.ndarray:
        """[N] the channel that each contour becomes when left and right swap.

        Raises:
            ConfigError: a structure's mirror is not among the configured ones.
        """
        return self.bits.mirrored_structures

    @functools.cached_property
    def mirrored_channels(self) -> np.ndarray:
        """[C] the image's channel that each one becomes when left and right swap."""
        firsts = (part.start for part in self._parts)
        mirrored = (group.mirrored for group in self.groups)
        return np.concatenate([f + m for f, m in zip(firsts, mirrored, strict=True)])

    @functools.cached_property
    def _parts(self) -> list[slice]:
        """The channels of each group."""
        ends = np.cumsum([len(group.names) for group in self.groups]).tolist()
        return [slice(*part) for part in zip([0, *ends], ends, strict=False)]

    def empty(self, rows: int) -> records.Batch:
        """An uninitialised batch for `write` to fill."""
        size, names = tuple(self.image_size), len(self.structures)
        batch = records.Batch(
            image=np.empty((rows, *size, self.channels), np.float32),
            contours=np.empty((rows, *size, names), np.uint8),
            present=np.empty((rows, names), np.float32),
            dose=np.empty((rows, *size, 1), np.float32),
            possible_dose=np.empty((rows, *size, 1), np.uint8),
            has_dose=np.empty(rows, np.float32),
            mask=np.empty(rows, np.float32),
            patient=np.empty(rows, np.int32),
            slice=np.empty(rows, np.int32),
        )
        if self.all_structures:
            shape = (rows, *size, len(self.site.names))
            batch["structures"] = np.empty(shape, np.uint8)
        return batch

    def write(
        self,
        batch: records.Batch,
        row: int,
        example: records.Example,
        patient: int,
        *,
        mask_known: bool,
    ) -> None:
        """Fill `row` of `batch` with `example`, of the split's patient `patient`.

        `mask_known` says whether the patient's possible-dose mask is.
        """
        example = self.resample(example)
        image, contours = batch["image"][row], batch["contours"][row]
        # Any mask is in the table; "clip" spares the copy that "raise" makes of `out`.
        table = self.bits.unpacked
        np.take(table, example["masks"], axis=0, out=contours, mode="clip")
        if (structures := batch.get("structures")) is not None:
            table, out = self.bits.unpacked_site, structures[row]
            np.take(table, example["masks"], axis=0, out=out, mode="clip")
        for group, part in zip(self.groups, self._parts, strict=True):
            group.write(example, image[..., part])
        prescription = np.float32(self.prescription_gy)
        np.divide(example["dose_gy"], prescription, out=batch["dose"][row, ..., 0])
        # Without a mask, a dose is possible everywhere, also beyond the CT's border.
        possible = (
            (example["masks"] & self.bits.possible_bit) > 0 if mask_known else True
        )
        batch["possible_dose"][row, ..., 0] = possible
        indices = self.bits.structure_indices
        batch["present"][row] = np.asarray(example["present"])[indices]
        batch["has_dose"][row] = example["has_dose"]
        batch["mask"][row] = 1
        batch["patient"][row] = patient
        batch["slice"][row] = example["slice"]

    def resample(self, example: records.Example) -> records.Example:
        """`example` on the network's grid; the same object if nothing changes."""
        if self._keeps(example["ct"].shape, tuple(example["spacing_mm"][1:])):
            return example
        grid = geometry.Grid((1, *example["ct"].shape), tuple(example["spacing_mm"]))
        onto = self.network_grid(grid)

        def read(field: str, image: np.ndarray) -> np.ndarray:
            how = resampling.reading(field, self.site)
            plane = np.asarray(image, how.dtype)[None]
            return resampling.resample_planes(
                plane, grid, onto, how.order, how.outside
            )[0]

        return {
            **records.change_images(example, read),
            "spacing_mm": np.asarray(onto.spacing_mm),
        }

    def _keeps(self, size: tuple[int, ...], spacing_mm: Sequence[float]) -> bool:
        """Whether planes of `size` and `spacing_mm` already fit the network."""
        wanted = self.image_spacing_mm
        return tuple(size) == tuple(self.image_size) and (
            not wanted or (spacing_mm[0] == wanted and spacing_mm[1] == wanted)
        )

    def network_grid(self, grid: geometry.Grid) -> geometry.Grid:
        """The network's grid for a patient whose CT is on `grid`."""
        return geometry.fit_in_plane(
            grid, self.image_size, self.image_spacing_mm or None
        )

    def restore(self, predicted: np.ndarray, grid: geometry.Grid) -> np.ndarray:
        """`predicted` [Z, H, W, ...] on the CT's own `grid` [Z, Y, X, ...].

        Linear in plane; 0 outside the network's image.

        Raises:
            GeometryError: slices are missing, or there are too many.
        """
        source = self.network_grid(grid)
        if predicted.shape[:3] != source.shape:
            raise errors.GeometryError(
                f"predictions have shape {predicted.shape}, the patient's network grid "
                f"{source.shape}; give all slices of this patient, and no others"
            )
        if self._keeps(grid.shape[1:], grid.spacing_mm[1:]):
            return predicted
        channels = predicted.reshape(*source.shape, -1).astype(np.float32, copy=False)
        restored = np.empty((*grid.shape, channels.shape[-1]), predicted.dtype)
        for channel in range(channels.shape[-1]):
            restored[..., channel] = resampling.resample_planes(
                channels[..., channel], source, grid, 1, 0.0
            )
        return restored.reshape(*grid.shape, *predicted.shape[3:])


def fit_statistics(
    split: prepared.Split,
    *,
    site: sites.Site,
    ct_values: image_channels.CtValues,
    ct_window: tuple[float, float],
) -> tuple[float, float]:
    """Mean and standard deviation of the clipped CT over all voxels of `split`."""
    offset = image_channels.ct_offset(site, ct_values)
    count, total, squares = 0, 0.0, 0.0
    for index in tqdm.trange(len(split.source), desc=f"CT statistics of {split.name}"):
        values = image_channels.clip(split.source[index]["ct"], offset, ct_window)
        values = values.astype(np.float64)
        count += values.size
        total += float(values.sum())
        squares += float(np.vdot(values, values))
    if not count:
        raise errors.DatasetError(
            f"split {split.name} has no slices to compute statistics from"
        )
    mean = total / count
    deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    if not deviation > 0:
        raise errors.DatasetError(
            f"the clipped CT of split {split.name} is {mean:g} everywhere; "
            f"check ct_window {ct_window} and ct_values {ct_values!r}"
        )
    return mean, deviation
