"""A tumour in a phantom: healthy anatomy goes in, targets come out.

Each target is drawn about something that enhances: PTV70 about the primary tumour,
PTV63 about a large node, PTV56 about the chains of small ones in the neck. Where they
are can be seen in every slice that they cross, but for a margin.
"""

import numpy as np
import numpy.typing as npt

from mtl_jax.sources.phantom import head_and_neck_anatomy

# Hounsfield units; contrast is stronger than life, so that few patients suffice.
TUMOUR, LARGE_NODE, NECROSIS, SMALL_NODE = 190.0, 180.0, 110.0, 140.0

# Where a primary tumour may sit; x is mirrored to the diseased side.
PRIMARY_SITES = ((20, -62, -34), (27, -46, -18), (9, -50, -6), (12, -54, -66))
ELECTIVE_Z = (-130, 0)  # levels of the neck: as far as its spaces of fat
MARGIN_MM = np.array([5.0, 5.0, 1.0])  # x, y, z: a slice that is treated shows why
SKIN = 0.93  # targets end some 5 mm under the skin

# How often a plan has PTV63 beside PTV56 and PTV70. Unlike in the challenge, none has
# PTV70 alone: a plan so different would need more patients than a demo can train on.
WITH_PTV63 = 0.55


def add_disease(anatomy: head_and_neck_anatomy.Anatomy) -> dict[str, np.ndarray]:
    """Paint tumour and nodes into `anatomy`; its targets [Z, Y, X], disjoint."""
    s, rng = anatomy.space, anatomy.rng
    soft = anatomy.body & (anatomy.skin < SKIN) & ~anatomy.nerve
    side = int(rng.choice((-1, 1)))
    regions = {"PTV56": np.zeros_like(soft)}

    for where in (-1, 1):
        x, y = anatomy.levels[where]
        beads = 6.5 + 2.0 * np.sin(s.z / 2.6 + rng.uniform(0, 6))
        chain = s.tube(x + 3 * where, y + 9, beads, beads) < 1
        chain &= s.between(*ELECTIVE_Z) & soft & ~anatomy.glands
        anatomy.paint(chain & (anatomy.hu < 250), SMALL_NODE)
        regions["PTV56"] |= (s.tube(x, y, 18, 20) < 1) & s.between(*ELECTIVE_Z)
    if rng.random() < WITH_PTV63:
        x, y = anatomy.levels[side]
        node = [x + 4 * side, y + 6, rng.uniform(-60, -28)]
        radii = anatomy.sized(12, 12, 14, spread=0.2)
        bone = anatomy.hu > 250
        anatomy.paint((s.ball(node, radii) < 1) & soft & ~bone, LARGE_NODE)
        anatomy.paint((s.ball(node, radii) < 0.55) & soft & ~bone, NECROSIS)
        regions["PTV63"] = s.ball(node, radii + MARGIN_MM) < 1

    x, y, z = PRIMARY_SITES[rng.integers(len(PRIMARY_SITES))]
    centre = anatomy.about(side * x, y, z, sd_mm=4.0)
    radii = anatomy.sized(18, 18, 18, spread=0.22)
    beside = centre + rng.normal(0, 7, 3)

    def primary(margin_mm: npt.ArrayLike) -> np.ndarray:
        main = s.ball(centre, np.add(radii, margin_mm))
        return np.minimum(main, s.ball(beside, np.add(0.7 * radii, margin_mm))) < 1

    anatomy.paint(primary(0.0) & soft, TUMOUR)  # bone that it reaches is eroded
    regions["PTV70"] = primary(MARGIN_MM)
    return _disjoint(regions, soft)


def _disjoint(
    regions: dict[str, np.ndarray], allowed: np.ndarray
) -> dict[str, np.ndarray]:
    """Each region without those of a higher prescription."""
    free, targets = allowed.copy(), {}
    for name in sorted(regions, reverse=True):
        targets[name] = regions[name] & free
        free &= ~regions[name]
    return targets
