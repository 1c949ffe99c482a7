"""The channels of a network's image: which there are, in what order, and their values.

Input: a slice on the network's grid (core/records.Example). Output: its image. The
channels are, as far as role and configuration ask for them:

1. the CT;
2. what the role is given beside it (core/roles): a channel for each structure, or the
   organs and the painted prescription;
3. the CT in a second window (`data.ct_second_window`);
4. the CT of the neighbouring slices from the feet to the head, each in the first and,
   if there is one, the second window (`data.neighbours`);
5. the distance to the targets' surface (`data.target_distance_mm`).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from mtl_jax.core import errors, records, roles, sites
from mtl_jax.pipeline import mask_bits, target_distance

MaskBits = mask_bits.MaskBits
CtValues = Literal["stored", "hu"]

# Names of the channels that are no structure's mask.
CT, PAINTED, TARGET_DISTANCE = "CT", "painted prescription", "distance to the targets"


@dataclasses.dataclass(frozen=True)
class Further:
    """The channels after those of the role, none of them in the paper."""

    ct_second_window: tuple[float, float]  # (0, 0): none
    neighbours: int  # slices on each side
    neighbour_mm: float  # between them; 0: adjacent slices
    target_distance_mm: float  # the unit of the distance to the targets; 0: none

    def neighbouring(self, z: int, slices: int, slice_mm: float) -> list[int]:
        """The neighbours of slice `z`, from the feet, of a CT with `slices` slices.

        Each is the slice nearest to where it should be; beyond the ends, the last one.
        """
        step = self.neighbour_mm / slice_mm if self.neighbour_mm else 1.0
        places = [z + round(n * step) for n in self.neighbour_numbers]
        return [min(max(place, 0), slices - 1) for place in places]

    @property
    def neighbour_numbers(self) -> tuple[int, ...]:
        """-1 for the next slice to the feet, 1 for the next one to the head, ..."""
        sides = range(-self.neighbours, self.neighbours + 1)
        return tuple(number for number in sides if number)


NO_FURTHER = Further((0.0, 0.0), 0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Window:
    """CT values, less an offset, are clipped to [low, high] and normalised."""

    offset: float
    low: float
    high: float
    mean: float
    std: float

    def write(self, ct: np.ndarray, image: np.ndarray) -> None:
        """Fill `image`, float32, with stored values `ct` of the same shape."""
        clip(ct, self.offset, (self.low, self.high), out=image)
        image -= np.float32(self.mean)
        image /= np.float32(self.std)


def ct_offset(site: sites.Site, ct_values: CtValues) -> float:
    """What is subtracted from stored CT values to have them as `ct_values`."""
    return site.ct_offset_hu if ct_values == "hu" else 0.0


def clip(
    ct: np.ndarray,
    offset: float,
    limits: tuple[float, float],
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Stored CT values less `offset`, float32, clipped to `limits`."""
    values = np.subtract(ct, np.float32(offset), dtype=np.float32, out=out)
    low, high = limits
    return np.clip(values, np.float32(low), np.float32(high), out=values)


class Group(Protocol):
    """Channels of the image that are written together."""

    @property
    def names(self) -> tuple[str, ...]:
        """[n] names of the channels, the same for other sites and roles."""
        ...

    @property
    def mirrored(self) -> np.ndarray:
        """[n] the channel of the group that each becomes when left and right swap."""
        ...

    def write(self, example: records.Example, image: np.ndarray) -> None:
        """Fill `image` [H, W, n] float32."""
        ...


def groups(
    bits: MaskBits, beside_ct: str, window: Window, further: Further
) -> tuple[Group, ...]:
    """The groups of channels, in the image's order.

    Args:
        bits: what the bits of masks mean.
        beside_ct: a key of roles.INPUTS and of CHANNELS.
        window: of the CT.
        further: the channels after those of the role.
    """
    windows = {"": window}
    low, high = further.ct_second_window
    if low < high:
        middle, half = (low + high) / 2, (high - low) / 2
        second = Window(window.offset, low, high, middle, half)
        windows[", second window"] = second
    made: list[Group] = [CtSlice("", window), BesideCt(bits, beside_ct)]
    made += [CtSlice(name, each) for name, each in windows.items() if name]
    if further.neighbours:
        made.append(Neighbours(windows, further))
    if further.target_distance_mm:
        made.append(TargetDistance(further.target_distance_mm))
    return tuple(made)


@dataclasses.dataclass(frozen=True)
class CtSlice:
    """The slice's own CT."""

    window_name: str
    window: Window

    @property
    def names(self) -> tuple[str, ...]:
        return (f"{CT}{self.window_name}",)

    @property
    def mirrored(self) -> np.ndarray:
        return np.arange(1)

    def write(self, example: records.Example, image: np.ndarray) -> None:
        self.window.write(example["ct"], image[..., 0])


@dataclasses.dataclass(frozen=True)
class BesideCt:
    """What the role is given beside the CT."""

    bits: MaskBits
    beside_ct: str

    @functools.cached_property
    def values(self) -> np.ndarray:
        """[65536, n] float32: the channels for every pattern of mask bits."""
        return CHANNELS[self.beside_ct].values(self.bits)

    @property
    def names(self) -> tuple[str, ...]:
        known = CHANNELS[self.beside_ct].names
        if known is not None:
            return known(self.bits)
        count = self.values.shape[-1]
        return tuple(f"{self.beside_ct} {n}" for n in range(1, count + 1))

    @property
    def mirrored(self) -> np.ndarray:
        return CHANNELS[self.beside_ct].mirrored(self.bits)

    def write(self, example: records.Example, image: np.ndarray) -> None:
        if key := roles.INPUTS[self.beside_ct].masks:
            # Never the reference's contours in place of predicted ones.
            masks = example.get(key)
            if masks is None:
                raise errors.RecordError("no contours were predicted for this slice")
            image[:] = self.values[masks]


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The CT of the slices around."""

    windows: dict[str, Window]  # by their name
    further: Further

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(
            f"{CT}{window}, slice {number:+d}"
            for number in self.further.neighbour_numbers
            for window in self.windows
        )

    @property
    def mirrored(self) -> np.ndarray:
        return np.arange(len(self.names))

    def write(self, example: records.Example, image: np.ndarray) -> None:
        if "neighbours" not in example:
            raise errors.RecordError("the neighbours of this slice were not read")
        targets = iter(np.moveaxis(image, -1, 0))
        for ct in example["neighbours"]:
            for window in self.windows.values():
                window.write(ct, next(targets))


@dataclasses.dataclass(frozen=True)
class TargetDistance:
    """The signed distance to the targets' surface."""

    unit_mm: float

    @property
    def names(self) -> tuple[str, ...]:
        return (TARGET_DISTANCE,)

    @property
    def mirrored(self) -> np.ndarray:
        return np.arange(1)

    @property
    def scale(self) -> np.float32:
        """What a stored distance is multiplied by."""
        return np.float32(target_distance.UNIT_MM / self.unit_mm)

    def write(self, example: records.Example, image: np.ndarray) -> None:
        if "target_distance" not in example:
            raise errors.RecordError("no distance to the targets is known here")
        np.multiply(example["target_distance"], self.scale, out=image[..., 0])


@dataclasses.dataclass(frozen=True)
class Channels:
    """How one of `roles.INPUTS` becomes the channels beside the CT."""

    # [65536, n] float32: their values for every pattern of mask bits.
    values: Callable[[MaskBits], np.ndarray]
    # [n]: the channel that each becomes when left and right swap.
    mirrored: Callable[[MaskBits], np.ndarray]
    # [n]: their names; a mask has the TG-263 name of its structure. None: numbers.
    names: Callable[[MaskBits], tuple[str, ...]] | None = None


def _no_values(_: MaskBits) -> np.ndarray:
    return np.empty((1 << mask_bits.MASK_BITS, 0), np.float32)


def _none_mirrored(_: MaskBits) -> np.ndarray:
    return np.arange(0)


def _no_names(_: MaskBits) -> tuple[str, ...]:
    return ()


def _structures(bits: MaskBits) -> np.ndarray:
    """A channel for each configured structure."""
    return bits.unpacked.astype(np.float32)


def _structures_mirrored(bits: MaskBits) -> np.ndarray:
    return bits.mirrored_structures


def _structure_names(bits: MaskBits) -> tuple[str, ...]:
    return bits.structure_names


def _painted(bits: MaskBits) -> np.ndarray:
    """The site's organs at risk, then the targets filled with their prescription.

    The highest prescription counts where targets overlap, divided by `prescription_gy`.
    """
    patterns = np.arange(1 << mask_bits.MASK_BITS, dtype=np.uint32)
    organs, painted = [], np.zeros(len(patterns), np.float32)
    for bit, structure in enumerate(bits.site.structures):
        inside = patterns >> bit & 1
        if structure.target_gy is None:
            organs.append(inside)
        else:
            part = np.float32(structure.target_gy / bits.prescription_gy)
            np.maximum(painted, part * inside.astype(np.float32), out=painted)
    return np.stack([*organs, painted], axis=-1).astype(np.float32)


def _painted_mirrored(bits: MaskBits) -> np.ndarray:
    site = bits.site
    organs = tuple(s.name for s in site.structures if s.target_gy is None)
    return np.array([*site.mirrored(organs), len(organs)], np.intp)


def _painted_names(bits: MaskBits) -> tuple[str, ...]:
    organs = (s.tg263 for s in bits.site.structures if s.target_gy is None)
    return (*organs, PAINTED)


# By the name of the input in core/roles.
CHANNELS = {
    "none": Channels(_no_values, _none_mirrored, _no_names),
    "reference": Channels(_structures, _structures_mirrored, _structure_names),
    "predicted": Channels(_structures, _structures_mirrored, _structure_names),
    "painted": Channels(_painted, _painted_mirrored, _painted_names),
}
