"""Turns examples of a data set into rows of a batch, and predictions back.

Input: a stored slice (core/records.Example) on the CT's own grid. Output: a row of a
core/records.Batch on the network's grid. `restore` resamples predicted volumes onto the
CT's grid. Training, evaluation and prediction all use this module.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import tqdm

from mtl_jax.core import errors, geometry, records, roles, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.pipeline import target_distance

CtValues = Literal["stored", "hu"]

# Outside the field of view of a scanner, and in OpenKBP outside the patient.
AIR_HU = -1024.0
MASK_BITS = 16
# Names of the channels that are no structure's mask.
CT_CHANNEL, PAINTED_CHANNEL = "CT", "painted prescription"
DISTANCE_CHANNEL = "distance to the targets"


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """Turns examples into rows; `image_spacing_mm` 0 keeps the CT's own."""

    site: sites.Site
    structures: tuple[str, ...]  # channels of the contours, in this order
    beside_ct: str  # a key of roles.INPUTS and of CHANNELS
    ct_values: CtValues
    ct_window: tuple[float, float]
    ct_mean: float
    ct_std: float
    prescription_gy: float
    image_size: tuple[int, int]  # y, x
    image_spacing_mm: float
    # The unit of the signed distance to the targets, the last channel; 0: no channel.
    target_distance_mm: float

    def __post_init__(self) -> None:
        if not self.ct_std > 0 or not self.prescription_gy > 0:
            raise errors.ConfigError(
                f"ct_std {self.ct_std} and prescription_gy {self.prescription_gy}: "
                "both must be greater than 0"
            )
        self.structure_indices  # noqa: B018 - raises for unknown names

    @functools.cached_property
    def structure_indices(self) -> np.ndarray:
        """[N] position of each configured structure in the site's table."""
        names = [self.site.structure(name).name for name in self.structures]
        return np.array([self.site.names.index(name) for name in names], np.intp)

    @functools.cached_property
    def possible_bit(self) -> np.uint16:
        """The bit of the possible-dose mask, alone."""
        return np.uint16(1 << examples.mask_bit(self.site))

    @functools.cached_property
    def unpacked(self) -> np.ndarray:
        """[65536, N] uint8: the configured structures of every pattern of mask bits."""
        patterns = np.arange(1 << MASK_BITS, dtype=np.uint32)[:, None]
        return ((patterns >> self.structure_indices) & 1).astype(np.uint8)

    @functools.cached_property
    def beside(self) -> np.ndarray:
        """[65536, C - 1] float32: the channels beside the CT, by pattern of bits."""
        return CHANNELS[self.beside_ct].values(self)

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return 1 + self.beside.shape[-1] + (self.target_distance_mm > 0)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """[C] names of the image's channels, the same for other sites and roles."""
        beside = CHANNELS[self.beside_ct].names(self)
        distance = (DISTANCE_CHANNEL,) if self.target_distance_mm else ()
        return (CT_CHANNEL, *beside, *distance)

    @property
    def structure_names(self) -> tuple[str, ...]:
        """[N] TG-263 names of the contours' channels."""
        return tuple(self.site.structure(name).tg263 for name in self.structures)

    @functools.cached_property
    def mirrored_structures(self) -> np.ndarray:
        """[N] the channel that each contour becomes when left and right swap.

        Raises:
            ConfigError: a structure's mirror is not among the configured ones.
        """
        return np.array(self.site.mirrored(self.structures), np.intp)

    @functools.cached_property
    def mirrored_channels(self) -> np.ndarray:
        """[C] the image's channel that each one becomes when left and right swap."""
        beside = 1 + CHANNELS[self.beside_ct].mirrored(self)
        # What follows stays.
        return np.concatenate([[0], beside, np.arange(1 + len(beside), self.channels)])

    def empty(self, rows: int) -> records.Batch:
        """An uninitialised batch for `write` to fill."""
        size, names = tuple(self.image_size), len(self.structures)
        return records.Batch(
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
        np.take(self.unpacked, example["masks"], axis=0, out=contours, mode="clip")
        ct = image[..., 0]
        window(example["ct"], self.site, self.ct_values, self.ct_window, out=ct)
        ct -= np.float32(self.ct_mean)
        ct /= np.float32(self.ct_std)
        if key := roles.INPUTS[self.beside_ct].masks:
            # Never the reference's contours in place of predicted ones.
            masks = example.get(key)
            if masks is None:
                raise errors.RecordError("no contours were predicted for this slice")
            image[..., 1 : 1 + self.beside.shape[-1]] = self.beside[masks]
        if self.target_distance_mm:
            self._write_distance(example, image[..., -1])
        prescription = np.float32(self.prescription_gy)
        np.divide(example["dose_gy"], prescription, out=batch["dose"][row, ..., 0])
        # Without a mask, a dose is possible everywhere, also beyond the CT's border.
        possible = (example["masks"] & self.possible_bit) > 0 if mask_known else True
        batch["possible_dose"][row, ..., 0] = possible
        batch["present"][row] = np.asarray(example["present"])[self.structure_indices]
        batch["has_dose"][row] = example["has_dose"]
        batch["mask"][row] = 1
        batch["patient"][row] = patient
        batch["slice"][row] = example["slice"]

    def _write_distance(self, example: records.Example, out: np.ndarray) -> None:
        if "target_distance" not in example:
            raise errors.RecordError("no distance to the targets is known here")
        unit = np.float32(target_distance.UNIT_MM / self.target_distance_mm)
        np.multiply(example["target_distance"], unit, out=out)

    def resample(self, example: records.Example) -> records.Example:
        """`example` on the network's grid; the same object if nothing changes."""
        if self._keeps(example["ct"].shape, tuple(example["spacing_mm"][1:])):
            return example
        grid = geometry.Grid((1, *example["ct"].shape), tuple(example["spacing_mm"]))
        onto = self.network_grid(grid)

        def read(field: str, image: np.ndarray) -> np.ndarray:
            how = reading(field, self.site)
            image = np.asarray(image, how.dtype)
            return resample_planes(image[None], grid, onto, how.order, how.outside)[0]

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
            restored[..., channel] = resample_planes(
                channels[..., channel], source, grid, 1, 0.0
            )
        return restored.reshape(*grid.shape, *predicted.shape[3:])


def _numbered(preprocess: Preprocess) -> tuple[str, ...]:
    count = preprocess.beside.shape[-1]
    return tuple(f"{preprocess.beside_ct} {n}" for n in range(1, count + 1))


@dataclasses.dataclass(frozen=True)
class Channels:
    """How one of `roles.INPUTS` becomes the channels beside the CT."""

    # [65536, C - 1] float32: their values for every pattern of mask bits.
    values: Callable[[Preprocess], np.ndarray]
    # [C - 1]: the channel that each becomes when left and right swap.
    mirrored: Callable[[Preprocess], np.ndarray]
    # [C - 1]: their names; a mask has the TG-263 name of its structure.
    names: Callable[[Preprocess], tuple[str, ...]] = _numbered


def _no_values(_: Preprocess) -> np.ndarray:
    return np.empty((1 << MASK_BITS, 0), np.float32)


def _none_mirrored(_: Preprocess) -> np.ndarray:
    return np.arange(0)


def _no_names(_: Preprocess) -> tuple[str, ...]:
    return ()


def _structures(preprocess: Preprocess) -> np.ndarray:
    """A channel for each configured structure."""
    return preprocess.unpacked.astype(np.float32)


def _structures_mirrored(preprocess: Preprocess) -> np.ndarray:
    return preprocess.mirrored_structures


def _structure_names(preprocess: Preprocess) -> tuple[str, ...]:
    return preprocess.structure_names


def _painted(preprocess: Preprocess) -> np.ndarray:
    """The site's organs at risk, then the targets filled with their prescription.

    The highest prescription counts where targets overlap, divided by `prescription_gy`.
    """
    patterns = np.arange(1 << MASK_BITS, dtype=np.uint32)
    organs, painted = [], np.zeros(len(patterns), np.float32)
    for bit, structure in enumerate(preprocess.site.structures):
        inside = patterns >> bit & 1
        if structure.target_gy is None:
            organs.append(inside)
        else:
            part = np.float32(structure.target_gy / preprocess.prescription_gy)
            np.maximum(painted, part * inside.astype(np.float32), out=painted)
    return np.stack([*organs, painted], axis=-1).astype(np.float32)


def _painted_mirrored(preprocess: Preprocess) -> np.ndarray:
    site = preprocess.site
    organs = tuple(s.name for s in site.structures if s.target_gy is None)
    return np.array([*site.mirrored(organs), len(organs)], np.intp)


def _painted_names(preprocess: Preprocess) -> tuple[str, ...]:
    structures = preprocess.site.structures
    organs = (s.tg263 for s in structures if s.target_gy is None)
    return (*organs, PAINTED_CHANNEL)


# By the name of the input in core/roles.
CHANNELS = {
    "none": Channels(_no_values, _none_mirrored, _no_names),
    "reference": Channels(_structures, _structures_mirrored, _structure_names),
    "predicted": Channels(_structures, _structures_mirrored, _structure_names),
    "painted": Channels(_painted, _painted_mirrored, _painted_names),
}


@dataclasses.dataclass(frozen=True)
class Reading:
    """How an image is read between its pixels, and beyond its border."""

    order: int  # 1: linear, 0: nearest
    outside: float | None  # None: the value on the border
    dtype: type  # of what is read


def reading(field: str, site: sites.Site) -> Reading:
    """How the image `field` of an Example is read on another grid."""
    if field in records.MASKS:
        return Reading(0, 0, np.uint16)
    outside = {
        "ct": AIR_HU + site.ct_offset_hu,
        "dose_gy": 0.0,
        "target_distance": None,
    }
    return Reading(1, outside[field], np.float32)


def window(
    ct: np.ndarray,
    site: sites.Site,
    ct_values: CtValues,
    ct_window: tuple[float, float],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Stored CT values as `ct_values` float32, clipped to `ct_window`."""
    offset = np.float32(site.ct_offset_hu if ct_values == "hu" else 0)
    values = np.subtract(ct, offset, dtype=np.float32, out=out)
    return np.clip(
        values, np.float32(ct_window[0]), np.float32(ct_window[1]), out=values
    )


def resample_planes(
    volume: np.ndarray,
    grid: geometry.Grid,
    onto: geometry.Grid,
    order: int,
    outside: float | None,
) -> np.ndarray:
    """`volume` [Z, Y, X] on `grid`, read at the voxels of `onto`.

    Both grids have the same slices and centre. Interpolation is linear (`order` 1) or
    nearest (0); a voxel beyond the border the value is `outside`, or with None that on
    the border.
    """
    old, new = np.asarray(grid.shape[1:]), np.asarray(onto.shape[1:])
    step = np.asarray(onto.spacing_mm[1:]) / np.asarray(grid.spacing_mm[1:])
    first = (old - 1) / 2 - step * (new - 1) / 2
    rows, columns = (
        # The frame of one voxel around the plane has index 0.
        np.clip(first[axis] + step[axis] * np.arange(new[axis]), -1, old[axis]) + 1
        for axis in (0, 1)
    )
    planes = np.empty(onto.shape, volume.dtype)
    framed = np.full(old + 2, outside or 0, volume.dtype)
    for z, plane in enumerate(volume):
        framed[1:-1, 1:-1] = plane
        if outside is None:
            framed = np.pad(plane, 1, mode="edge")
        if order == 0:
            nearest = np.floor(rows + 0.5).astype(int), np.floor(columns + 0.5)
            planes[z] = framed[np.ix_(nearest[0], nearest[1].astype(int))]
        else:
            planes[z] = _linear(_linear(framed, rows, 0), columns, 1)
    return planes


def _linear(values: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    """`values` [Y, X] at fractional indices along `axis`, linearly interpolated."""
    below = np.minimum(indices.astype(int), values.shape[axis] - 2)
    share = (indices - below).astype(values.dtype)
    share = share[:, None] if axis == 0 else share
    low, high = values.take(below, axis), values.take(below + 1, axis)
    return low + share * (high - low)


def fit_statistics(
    split: prepared.Split,
    *,
    site: sites.Site,
    ct_values: CtValues,
    ct_window: tuple[float, float],
) -> tuple[float, float]:
    """Mean and standard deviation of the clipped CT over all voxels of `split`."""
    count, total, squares = 0, 0.0, 0.0
    for index in tqdm.trange(len(split.source), desc=f"CT statistics of {split.name}"):
        values = window(split.source[index]["ct"], site, ct_values, ct_window)
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
