"""How often a training slice is drawn in an epoch, by what it shows.

Input: a split. Output: what each of its slices shows, and its draws an epoch.
"""

from collections.abc import Sequence

import numpy as np
import tqdm

from mtl_jax.core import sites
from mtl_jax.datasets import examples, prepared

# What a slice may show, as bits. A slice may show both.
POSSIBLE_DOSE, STRUCTURE = 1, 2


def shown(split: prepared.Split, structures: Sequence[str]) -> np.ndarray:
    """[slices] uint8: the bits of what each slice of `split` shows.

    In a patient with a plan whose possible-dose mask is not known, every slice shows a
    possible dose. `structures` are those to contour.
    """
    possible = np.uint16(1 << examples.mask_bit(split.site))
    contoured = _bits(structures, split.site)
    found = np.zeros(len(split.source), np.uint8)
    for entry in tqdm.tqdm(split.patients, desc=f"slices of {split.name}", unit="pt"):
        for index in range(entry.start, entry.start + entry.slices):
            masks = np.bitwise_or.reduce(split.source[index]["masks"], axis=None)
            in_mask = bool(masks & possible) or not entry.has_mask
            found[index] = POSSIBLE_DOSE * (entry.has_dose and in_mask)
            found[index] |= STRUCTURE * bool(masks & contoured)
    return found


def _bits(structures: Sequence[str], site: sites.Site) -> np.uint16:
    names = [site.structure(name).name for name in structures]
    return np.uint16(sum(1 << site.names.index(name) for name in names))


def times(shown: np.ndarray, draws: Sequence[int]) -> np.ndarray:
    """[slices] int64: draws an epoch of slices that show `shown` [slices].

    `draws` are those of a slice that shows neither, a possible dose, a structure; the
    largest counts.
    """
    neither, dose, structure = draws
    return np.maximum.reduce(
        [
            np.where(shown == 0, neither, 0),
            np.where(shown & POSSIBLE_DOSE, dose, 0),
            np.where(shown & STRUCTURE, structure, 0),
        ]
    )
