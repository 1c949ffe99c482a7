"""Random anatomy of the head and neck, with a tumour and its targets.

Input: a random generator and the voxel centres of a scan. Output: an Anatomy with
tissue in HU and masks of the organs at risk; and the masks of the targets.

Shapes are in mm in the frame of `tissue_model`, with the origin in the spinal canal at
the skull base. They are simplified: what matters is that an organ's position and extent
can be read off the image, and off nothing else. The same holds for targets, apart from
a margin: each surrounds tissue that enhances. PTV70 surrounds the primary tumour, PTV63
a large node, PTV56 the chains of small nodes in the neck.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from mtl_jax.sources.phantom import tissue_model

# Hounsfield units of the tissues.
AIR, FAT, FLUID, BRAIN, MUSCLE = -980.0, -95.0, 0.0, 34.0, 55.0
PAROTID, STEM, CORD, VESSEL = -22.0, 62.0, 60.0, 90.0
CARTILAGE, MARROW, BONE, TOOTH, METAL = 75.0, 500.0, 900.0, 1700.0, 2900.0
# Contrast is stronger than in real scans, so that few patients suffice for training.
TUMOUR, LARGE_NODE, NECROSIS, SMALL_NODE = 190.0, 180.0, 110.0, 140.0

# Outline of the body at heights z: half width, most anterior and most posterior y.
OUTLINE_Z = (-110, -92, -74, -58, -48, -38, -20, 0, 20, 40, 60, 80)
OUTLINE_HALF_WIDTH = (108, 92, 64, 60, 61, 64, 70, 75, 78, 79, 76, 62)
OUTLINE_FRONT = (-74, -73, -73, -77, -93, -104, -110, -114, -111, -108, -101, -84)
OUTLINE_BACK = (72, 68, 64, 63, 63, 63, 65, 69, 75, 77, 73, 60)

# Centres (x, y, z) of primary tumours; x is mirrored if the tumour is on the right.
PRIMARY_SITES = ((20, -62, -34), (27, -46, -18), (9, -50, -6), (12, -54, -66))
ELECTIVE_Z = (-130, 0)  # range of the lymph node levels: that of the neck's fat
# Margin of PTV70 and PTV63; x, y, z. It is small in z: their slices show the tumour.
MARGIN_MM = np.array([5.0, 5.0, 1.0])
SKIN = 0.93  # targets end about 5 mm under the skin

# Probability that a plan has PTV63 besides PTV56 and PTV70. Unlike in the challenge, no
# plan has PTV70 alone: such plans would need more patients than a demo can train on.
WITH_PTV63 = 0.55


@dataclasses.dataclass
class Anatomy(tissue_model.TissueModel):
    """The tissue and organs of a head and neck, [Z, Y, X]."""

    skin: np.ndarray  # float32: 1 on the skin, 0 on the axis of the body
    nerve: np.ndarray  # bool: cord, brainstem and the fluid around them
    glands: np.ndarray  # bool: the parotids
    # Axis (x, y) of the lymph node levels by side: -1 right, 1 left.
    levels: dict[int, tuple[float, float]] = dataclasses.field(default_factory=dict)
    organs: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # bool


def generate(rng: np.random.Generator, space: tissue_model.Space) -> Anatomy:
    """A healthy patient: tissue in HU, and the organs at risk."""
    body, skin = _outline(rng, space)
    anatomy = Anatomy(
        space,
        rng,
        body=body,
        skin=skin,
        hu=np.full(body.shape, AIR, np.float32),
        nerve=np.zeros_like(body),
        glands=np.zeros_like(body),
    )
    canal_x, canal_y = _canal(rng, space)
    _soft_tissue(anatomy)
    _neck_spaces(anatomy)
    _face(anatomy)
    _parotids(anatomy)
    _cranium(anatomy)
    _spine(anatomy, canal_x, canal_y)
    _airway(anatomy)
    _mandible(anatomy)
    return anatomy


def _outline(
    rng: np.random.Generator, space: tissue_model.Space
) -> tuple[np.ndarray, np.ndarray]:
    """The body, and how near a voxel is to its skin: 1 on it, 0 on the axis."""
    shoulders = rng.uniform(0.88, 1.04)
    widths = np.asarray(OUTLINE_HALF_WIDTH) * np.where(
        np.asarray(OUTLINE_Z) < -80, shoulders, 1.0
    )
    jaw = rng.normal(0.0, 3.0) * np.isin(OUTLINE_Z, (-48, -38, -20))
    half_width = space.profile(OUTLINE_Z, tuple(widths))
    front = space.profile(OUTLINE_Z, tuple(np.asarray(OUTLINE_FRONT) + jaw))
    back = space.profile(OUTLINE_Z, OUTLINE_BACK)
    depth = (2 * space.y - front - back) / (back - front)  # -1 anterior, 1 posterior
    taper = 1 - 0.16 * np.clip(-depth, 0, 1) ** 2
    lateral = np.abs(space.x) / (half_width * taper)
    skin = (lateral**2.3 + np.abs(depth) ** 2.3) ** (1 / 2.3)
    nose = space.ball([0, -114, 14], [11, 15, 17])
    skin = np.minimum(skin, np.where(nose < 1, 0.9 + 0.1 * nose, skin))
    return skin < 1, skin


def _canal(
    rng: np.random.Generator, space: tissue_model.Space
) -> tuple[np.ndarray, np.ndarray]:
    """Axis (x, y) of the spinal canal and, above the skull base, of the brainstem."""
    curve, bend, lean = rng.normal(0.0, (3.5, 2.5, 0.05))
    down = np.clip(-space.z, 0, None)
    up = np.clip(space.z, 0, None)
    x = bend * np.sin(down / 34) + rng.normal(0.0, 1.2)
    y = (4 + curve) * np.sin(down / 30) + lean * down - 0.2 * up
    return x.astype(np.float32), y.astype(np.float32)


def _soft_tissue(a: Anatomy) -> None:
    """Fat, skin and muscle."""
    a.fill(a.body, FAT)
    a.fill(a.skin > 0.965, 20.0)
    a.fill(a.skin < a.rng.uniform(0.86, 0.92), MUSCLE)
    # Nape: paired muscles parted by fat.
    nape = a.space.between(-120, -4) & (a.space.y > 20)
    for side in (-1, 1):
        for x, y, rx, ry in ((15, 38, 13, 13), (37, 27, 15, 17)):
            rim = a.space.tube(side * x, y, rx, ry)
            a.fill(nape & (rim > 0.92) & (rim < 1.12), FAT)


def _neck_spaces(a: Anatomy) -> None:
    """Fat on both sides of the neck, the great vessels in it, muscle over it."""
    s = a.space
    for side in (-1, 1):
        x, y, _ = a.displaced(side * 36, -22, 0)
        a.levels[side] = (x, y)
        level = s.between(-120, 0)
        a.fill(level & (s.tube(x, y, 17, 19) < 1), FAT)
        muscle = s.tube(side * (50 + 0.05 * s.z), -12 + 0.35 * (s.z + 50), 9, 17)
        a.fill(level & (muscle < 1), MUSCLE)
        a.fill(s.between(-120, 0) & (s.tube(x - 5 * side, y - 2, 4.6, 4.6) < 1), VESSEL)
        a.fill(s.between(-120, 0) & (s.tube(x + 5 * side, y + 5, 6.2, 5.0) < 1), VESSEL)
        gland = s.ball(a.displaced(side * 31, -66, -46), a.scaled(10, 14, 11))
        a.fill(gland < 1.15, FAT)
        a.fill(gland < 1, 38.0)


def _face(a: Anatomy) -> None:
    """Eyes, cheek fat, upper jaw with sinuses, and the nasal cavity."""
    s = a.space
    for side in (-1, 1):
        a.fill(s.ball(a.displaced(side * 42, -74, -8), [14, 18, 22]) < 1, FAT)
        eye = a.displaced(side * 32, -90, 29, sd_mm=1.5)
        a.fill(s.ball(np.add(eye, [0, 12, 0]), [18, 26, 18]) < 1.15, BONE)
        a.fill(s.ball(np.add(eye, [0, 10, 0]), [17, 26, 17]) < 1, FAT)
        a.fill(s.ball(eye, [12, 12, 12]) < 1, 70.0)
        a.fill(s.ball(eye, [10.5, 10.5, 10.5]) < 1, FLUID)
        sinus = s.ball(a.displaced(side * 29, -76, 9), a.scaled(14, 17, 16))
        a.fill(sinus < 1.2, 480.0)
        a.fill(sinus < 1, AIR)
    cavity = s.tube(0, -74, 11, 27)
    a.fill(s.between(-6, 32) & (cavity < 1.2), 420.0)
    a.fill(s.between(-4, 30) & (cavity < 1), AIR)
    a.fill(s.between(-4, 30) & (np.abs(s.x) < 2.2) & (cavity < 1), 120.0)
    a.fill(s.between(-10, -4) & (s.tube(0, -76, 32, 32) < 1) & (s.y < -52), 520.0)


def _parotids(a: Anatomy) -> None:
    s = a.space
    for side, name in ((-1, "RightParotid"), (1, "LeftParotid")):
        centre = a.displaced(side * 57, -20, -16, sd_mm=3.0)
        radii = a.scaled(16, 20, 26, spread=0.18)
        deep = s.ball(centre - (side * 9, -3, -2), radii * (0.75, 0.6, 0.7))
        gland = (np.minimum(s.ball(centre, radii), deep) < 1) & (a.skin < 0.94)
        rim = (np.minimum(s.ball(centre, radii), deep) < 1.14) & (a.skin < 0.97)
        a.fill(rim, FAT)
        a.fill(gland, PAROTID)
        a.organs[name] = gland
        a.glands |= gland


def _cranium(a: Anatomy) -> None:
    """Skull and mastoids; the brain with its ventricles."""
    s = a.space
    vault, fossa = [0, -17, 60], [0, 24, 24]
    vault_r, fossa_r = (
        a.scaled(65, 81, 48, spread=0.02),
        a.scaled(51, 38, 33, spread=0.04),
    )
    wall = a.rng.uniform(6.0, 8.5)
    # The floor of the skull rises to the front, over the orbits.
    sloped = dataclasses.replace(s, z=s.z + 0.3 * (s.y - vault[1]))
    inside = (sloped.ball(vault, vault_r) < 1) | (s.ball(fossa, fossa_r) < 1)
    shell = sloped.ball(vault, vault_r + wall) < 1
    shell |= s.ball(fossa, fossa_r + wall) < 1
    base = s.ball([0, -22, 4], [44, 20, 9]) < 1
    shell = (shell | base) & (a.skin < 0.965)
    a.fill(shell, BONE)
    a.fill(base & (np.abs(s.x) > 5) & ~inside, MARROW)
    for side in (-1, 1):
        mastoid = s.ball(a.displaced(side * 54, 12, 3, sd_mm=1.5), a.scaled(13, 15, 19))
        a.fill((mastoid < 1) & (a.skin < 0.95), 700.0)
        a.fill((mastoid < 0.7) & (a.skin < 0.93), -350.0)
        canal = s.ball([side * 62, -8, 8], [17, 4, 4])
        a.fill(canal < 1, AIR)
    inside &= a.skin < 0.92
    a.fill(inside, BRAIN)
    a.fill(inside & (np.abs(s.x) < 1.5) & (s.z > 52), 60.0)
    spread = a.rng.uniform(0.8, 1.3)
    for side in (-1, 1):
        horn = s.ball([side * 13, -18, 66], np.multiply([8, 30, 12], spread))
        a.fill(inside & (horn < 1), FLUID)


def _spine(a: Anatomy, canal_x: np.ndarray, canal_y: np.ndarray) -> None:
    """Vertebrae and spinal cord; above the skull base, cisterns and brainstem."""
    s = a.space
    period, phase = a.rng.uniform(16, 19), a.rng.uniform(0, 1)
    in_vertebra = np.mod(s.z / period + phase, 1.0) < 0.76
    neck = s.between(-160, -5)
    column = s.tube(canal_x, canal_y - 23, 16, 11)
    a.fill(neck & (column < 1.0), 85.0)
    a.fill(neck & in_vertebra & (column < 1.0), BONE)
    a.fill(neck & in_vertebra & (column < 0.72), MARROW)
    arch = s.tube(canal_x, canal_y, 19, 17)
    a.fill(neck & (arch < 1.0), 88.0)
    a.fill(neck & in_vertebra & (arch < 1.0), BONE)
    for side in (-1, 1):
        wing = s.tube(canal_x + side * 23, canal_y - 6, 9, 5)
        a.fill(neck & in_vertebra & (wing < 1.0), 600.0)
    spinous = (np.abs(s.x - canal_x) < 4.0) & (s.y > canal_y) & (s.y < canal_y + 34)
    a.fill(neck & in_vertebra & spinous, 700.0)
    canal = s.between(-160, 4) & (s.tube(canal_x, canal_y, 13.5, 12) < 1)
    a.fill(canal, FLUID)

    radius = a.rng.uniform(0.9, 1.12)
    cord = s.between(-160, -4) & (
        s.tube(canal_x, canal_y, 10.5 * radius, 9 * radius) < 1
    )
    a.fill(cord, CORD)
    a.organs["SpinalCord"] = cord & a.body

    top = a.rng.uniform(37, 46)
    width = s.profile((-6, 6, 16, 26, 36, 48), (10, 12.5, 17, 17.5, 15, 14)) * radius
    stem = s.tube(canal_x, canal_y, width, 0.86 * width)
    cistern = s.tube(canal_x, canal_y, width + 6.5, 0.86 * width + 6.5)
    cistern = s.between(-4, top + 6) & (cistern < 1)
    a.fill(cistern, FLUID)
    a.nerve |= canal | cistern
    stem = s.between(-4, top) & (stem < 1)
    a.fill(stem, STEM)
    a.organs["Brainstem"] = stem & a.body


def _airway(a: Anatomy) -> None:
    """Pharynx, larynx with its cartilage, trachea, and the oesophagus."""
    s = a.space
    x = a.rng.normal(0.0, 2.0)
    y = s.profile((-110, -85, -60, -40, -15, 6), (-46, -47, -53, -44, -43, -46))
    wide = a.rng.uniform(0.8, 1.2)
    rx = s.profile((-110, -85, -62, -40, -15, 6), (9, 9, 6, 12, 11, 12)) * wide
    ry = s.profile((-110, -85, -62, -40, -15, 6), (8, 8, 9, 5, 6, 7))
    larynx = s.ball([x, -55, -64], a.scaled(19, 16, 17))
    a.fill(larynx < 1.0, 48.0)
    a.fill((larynx < 1.0) & (larynx > 0.8) & (s.y < -48), CARTILAGE)
    a.organs["Larynx"] = (larynx < 1.0) & a.body & (a.skin < 0.97)
    ring = s.tube(x, y, rx + 3, ry + 3)
    a.fill(s.between(-120, -82) & (ring < 1.0), CARTILAGE)
    a.fill(s.between(-120, 8) & (s.tube(x, y, rx, ry) < 1.0), AIR)
    gullet = s.tube(x + a.rng.normal(0.0, 1.5), y + 17, 8.5, 5.5)
    gullet_top = a.rng.uniform(-76, -70)
    a.fill(s.between(-120, gullet_top) & (gullet < 1.0), 30.0)
    a.fill(s.between(-120, gullet_top) & (gullet < 0.25), -300.0)
    a.organs["Esophagus"] = s.between(-120, gullet_top) & (gullet < 1.0) & a.body


def _mandible(a: Anatomy) -> None:
    """Lower jaw and teeth; metal fillings cause streak artefacts."""
    s = a.space
    shift = a.displaced(0, -42, 0, sd_mm=1.5)
    size = a.scaled(49, 58, spread=0.05)
    arch = s.tube(shift[0], shift[1], size[0], size[1])
    chin, molars = a.rng.uniform(-46, -41), a.rng.uniform(-26, -21)
    plate = (arch < 1.0) & (arch > 0.8) & (a.skin < 0.95) & (s.y < shift[1])
    jaw = plate & s.between(chin, molars)
    ramus = np.maximum(
        np.abs(np.abs(s.x - shift[0]) - 0.93 * size[0]) / 4.5, np.abs(s.y + 44) / 13
    )
    jaw |= (ramus < 1.0) & s.between(chin + 6, 4) & (a.skin < 0.95)
    a.fill(jaw, BONE)
    a.fill(
        plate & (np.abs(arch - 0.9) < 0.045) & s.between(chin + 4, molars - 3), MARROW
    )
    a.organs["Mandible"] = jaw & a.body

    angle = np.arctan2(s.x - shift[0], -(s.y - shift[1]))
    row = (np.abs(arch - 0.84) < 0.075) & (np.abs(angle) < 1.35)
    teeth = row & s.between(molars, molars + 17) & (np.mod(angle * 7.0, 1.0) < 0.8)
    a.fill(teeth & (a.skin < 0.94), TOOTH)
    if a.rng.random() < 0.6:
        for _ in range(a.rng.integers(1, 4)):
            _fill_tooth(a, a.rng.uniform(-1.3, 1.3), shift, size, molars)


def _fill_tooth(
    a: Anatomy, angle: float, shift: np.ndarray, size: np.ndarray, molars: float
) -> None:
    """A metal filling, and the bright and dark streaks across its slices."""
    s = a.space
    x = shift[0] + 0.84 * size[0] * np.sin(angle)
    y = shift[1] - 0.84 * size[1] * np.cos(angle)
    z = molars + a.rng.uniform(5, 12)
    dx, dy = s.x - x, s.y - y
    distance = np.hypot(dx, dy)
    direction = np.arctan2(dy, dx)
    rays = np.zeros_like(distance)
    for _ in range(9):
        gap = np.angle(np.exp(1j * (direction - a.rng.uniform(-np.pi, np.pi))))
        height = a.rng.uniform(120, 420) * a.rng.choice((-1, 1))
        rays += height * np.exp(-((gap / a.rng.uniform(0.04, 0.11)) ** 2))
    rays *= np.exp(-(((s.z - z) / 4.0) ** 2)) / (1 + distance / 25)
    a.hu += np.where(a.body & (a.hu > -900), rays, 0).astype(np.float32)
    a.fill(s.ball([x, y, z], [5, 5, 4]) < 1, METAL)


def add_disease(anatomy: Anatomy) -> dict[str, np.ndarray]:
    """Add a tumour and nodes to `anatomy`.

    Returns the targets {name: bool [Z, Y, X]}, which do not overlap.
    """
    s, rng = anatomy.space, anatomy.rng
    soft = anatomy.body & (anatomy.skin < SKIN) & ~anatomy.nerve
    side = int(rng.choice((-1, 1)))
    regions = {"PTV56": np.zeros_like(soft)}

    for level in (-1, 1):
        x, y = anatomy.levels[level]
        beads = 6.5 + 2.0 * np.sin(s.z / 2.6 + rng.uniform(0, 6))
        chain = s.tube(x + 3 * level, y + 9, beads, beads) < 1
        chain &= s.between(*ELECTIVE_Z) & soft & ~anatomy.glands
        anatomy.fill(chain & (anatomy.hu < 250), SMALL_NODE)
        regions["PTV56"] |= (s.tube(x, y, 18, 20) < 1) & s.between(*ELECTIVE_Z)
    if rng.random() < WITH_PTV63:
        x, y = anatomy.levels[side]
        node = [x + 4 * side, y + 6, rng.uniform(-60, -28)]
        radii = anatomy.scaled(12, 12, 14, spread=0.2)
        bone = anatomy.hu > 250
        anatomy.fill((s.ball(node, radii) < 1) & soft & ~bone, LARGE_NODE)
        anatomy.fill((s.ball(node, radii) < 0.55) & soft & ~bone, NECROSIS)
        regions["PTV63"] = s.ball(node, radii + MARGIN_MM) < 1

    x, y, z = PRIMARY_SITES[rng.integers(len(PRIMARY_SITES))]
    centre = anatomy.displaced(side * x, y, z, sd_mm=4.0)
    radii = anatomy.scaled(18, 18, 18, spread=0.22)
    beside = centre + rng.normal(0, 7, 3)

    def primary(margin_mm: npt.ArrayLike) -> np.ndarray:
        main = s.ball(centre, np.add(radii, margin_mm))
        return np.minimum(main, s.ball(beside, np.add(0.7 * radii, margin_mm))) < 1

    anatomy.fill(primary(0.0) & soft, TUMOUR)  # erodes the bone that it reaches
    regions["PTV70"] = primary(MARGIN_MM)
    return _disjoint(regions, soft)


def _disjoint(
    regions: dict[str, np.ndarray], allowed: np.ndarray
) -> dict[str, np.ndarray]:
    """Each region inside `allowed`, without regions of a higher prescription."""
    free, targets = allowed.copy(), {}
    for name in sorted(regions, reverse=True):
        targets[name] = regions[name] & free
        free &= ~regions[name]
    return targets
