"""The bits of a slice's masks, as channels of an image.

Input: a site, and the structures of a configuration. Output: tables with a row for each
of the 65536 patterns of bits (core/records.Example.masks), which unpack whole slices.
"""

import dataclasses
import functools

import numpy as np

from mtl_jax.core import sites
from mtl_jax.datasets import examples

MASK_BITS = 16


@dataclasses.dataclass(frozen=True)
class MaskBits:
    """What the bits of masks mean."""

    site: sites.Site
    structures: tuple[str, ...]  # the configured ones, in the order of the contours
    prescription_gy: float

    @functools.cached_property
    def structure_indices(self) -> np.ndarray:
        """[N] position of each configured structure in the site's table."""
        names = [self.site.structure(name).name for name in self.structures]
        return np.array([self.site.names.index(name) for name in names], np.intp)

    @property
    def structure_names(self) -> tuple[str, ...]:
        """[N] TG-263 names of the configured structures."""
        return tuple(self.site.structure(name).tg263 for name in self.structures)

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
    def unpacked_site(self) -> np.ndarray:
        """[65536, S] uint8: all structures of the site, in its order."""
        patterns = np.arange(1 << MASK_BITS, dtype=np.uint32)[:, None]
        return ((patterns >> np.arange(len(self.site.names))) & 1).astype(np.uint8)

    @functools.cached_property
    def mirrored_structures(self) -> np.ndarray:
        """[N] the channel that each contour becomes when left and right swap.

        Raises:
            ConfigError: a structure's mirror is not among the configured ones.
        """
        return np.array(self.site.mirrored(self.structures), np.intp)
