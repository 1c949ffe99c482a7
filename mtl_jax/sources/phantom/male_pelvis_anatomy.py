"""Random anatomy of the male pelvis.

Input: a random generator and the voxel centres of a scan. Output: an Anatomy with
tissue in HU and masks of the organs, the prostate and its PTV.

Shapes are in mm in the frame of `tissue_model`, with the origin midway between the
femoral heads. As in the head and neck, they are simplified, an organ's position and
extent can be read off the image alone, and contrast is stronger than in real scans.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from mtl_jax.sources.phantom import tissue_model

# Hounsfield units of the tissues.
AIR, GAS, FAT, URINE, STOOL = -1000.0, -900.0, -95.0, 5.0, 25.0
WALL, MUSCLE, VESSEL, PROSTATE = 42.0, 55.0, 75.0, 95.0
MARROW, BONE, CORTEX = 320.0, 550.0, 900.0

# Outline of the body at heights z: half width, most anterior and most posterior y.
OUTLINE_Z = (-130, -90, -50, -10, 30, 70, 120)
OUTLINE_HALF_WIDTH = (160, 166, 171, 172, 168, 160, 152)
OUTLINE_FRONT = (-78, -88, -98, -106, -110, -112, -112)
OUTLINE_BACK = (84, 98, 110, 116, 114, 106, 96)
# Below the crotch, the gap between the thighs widens by so many mm per mm.
CROTCH_Z, LEGS_PART = -74, 0.35

# Axis and radius of the rectum and the bowel next to it at heights z, and the heights
# between which it is contoured as rectum.
RECTUM_Z = (-56, -38, -12, 15, 40, 62, 80, 100)
RECTUM_Y = (33, 38, 45, 54, 65, 66, 44, 20)
RECTUM_RADIUS = (10, 13, 18, 19, 18, 15, 14, 14)
RECTUM_ENDS = (-38.0, 62.0)
RECTUM_WALL_MM = 5.0
BLADDER_WALL_MM = 4.0
FEMUR_END = -58.0  # contoured down to the ischial tuberosity
# x, y, z. The shift leaves 7 mm to the anterior and 5 mm to the posterior.
PTV_MARGIN_MM = (7.0, 6.0, 7.0)
PTV_SHIFT_Y = -1.0


@dataclasses.dataclass
class Anatomy(tissue_model.TissueModel):
    """The tissue and structures of a pelvis, [Z, Y, X]."""

    inner: np.ndarray  # bool: what lies under the subcutaneous fat
    structures: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)  # bool

    def rod(self, start: npt.ArrayLike, end: npt.ArrayLike) -> np.ndarray:
        """Distance in mm from the line between two points."""
        start, along = np.asarray(start), np.subtract(end, start)
        offset = [
            axis - np.float32(first)
            for axis, first in zip(
                (self.space.x, self.space.y, self.space.z), start, strict=True
            )
        ]
        unit = (along / np.dot(along, along)).astype(np.float32)
        share = np.clip(sum(o * u for o, u in zip(offset, unit, strict=True)), 0, 1)
        gaps = (o - share * np.float32(a) for o, a in zip(offset, along, strict=True))
        return np.sqrt(sum(np.square(gap) for gap in gaps))


def generate(rng: np.random.Generator, space: tissue_model.Space) -> Anatomy:
    """A patient: tissue in HU, the organs, the prostate and its PTV."""
    body, skin = _outline(space)
    inner = body & (skin < rng.uniform(0.8, 0.9))
    hu = np.full(body.shape, AIR, np.float32)
    anatomy = Anatomy(space, rng, body, hu, inner)
    anatomy.fill(body, FAT)
    anatomy.fill(skin > 0.975, 15.0)
    _muscles_and_vessels(anatomy)
    _pelvic_bones(anatomy)
    for side, name in ((1, "Femur_L"), (-1, "Femur_R")):
        anatomy.structures[name] = _femur(anatomy, side)
    _bowel(anatomy)
    _rectum(anatomy)
    _prostate_and_bladder(anatomy)
    anatomy.structures["External"] = body
    return anatomy


def _outline(space: tissue_model.Space) -> tuple[np.ndarray, np.ndarray]:
    """The body, and how near a voxel is to its skin: 1 on it, 0 on the axis."""
    half_width = space.profile(OUTLINE_Z, OUTLINE_HALF_WIDTH)
    front = space.profile(OUTLINE_Z, OUTLINE_FRONT)
    back = space.profile(OUTLINE_Z, OUTLINE_BACK)
    depth = (2 * space.y - front - back) / (back - front)  # -1 anterior, 1 posterior
    lateral = np.abs(space.x) / half_width
    skin = (lateral**2.4 + np.abs(depth) ** 2.4) ** (1 / 2.4)
    parted = np.abs(space.x) < LEGS_PART * (CROTCH_Z - space.z)
    return (skin < 1) & ~parted, skin


def _muscles_and_vessels(a: Anatomy) -> None:
    """Muscles of hip, thigh, abdomen and pelvic floor; the femoral vessels."""
    s = a.space
    pelvic = s.between(-60, 200)
    for side in (-1, 1):
        shapes = (  # x, y, radius in x and y, from, to
            (78, 80, 64, 24, -70, 200),  # gluteus maximus
            (112, 32, 34, 34, -20, 200),  # gluteus medius
            (84, -46, 24, 18, -70, 200),  # iliopsoas
            (50, 8, 8, 30, -45, 22),  # obturator internus
            (26, -92, 24, 8, -20, 200),  # rectus abdominis
            (92, 0, 60, 62, -200, -56),  # thigh
        )
        for x, y, rx, ry, low, high in shapes:
            shape = s.tube(side * x, y, rx, ry) < 1
            a.fill(shape & s.between(low, high) & a.inner, MUSCLE)
        x, y, _ = a.displaced(side * 62, -64, 0)
        for dx, dy in ((0, 0), (11 * side, -2)):
            a.fill((s.tube(x + dx, y + dy, 6, 6) < 1) & a.inner, VESSEL)
    floor = s.ball([0, 34, -52], [42, 34, 16])
    a.fill((floor < 1) & pelvic, MUSCLE)


def _pelvic_bones(a: Anatomy) -> None:
    """Ilium, acetabulum, ischium and pubis on both sides, sacrum and coccyx."""
    s = a.space
    for side in (-1, 1):
        socket = s.ball([side * 90, 0, 0], [36, 36, 36])
        medial = (side * s.x < 92) | (s.z > 12)
        a.fill((socket < 1) & medial, BONE)
        wing = np.square((side * s.x - 96 - 0.22 * (s.z - 20) + 0.35 * s.y) / 9)
        wing = wing + np.square((s.y - 12) / 52) + np.square((s.z - 75) / 58)
        a.fill(wing < 1, BONE)
        a.fill(a.rod([side * 66, 32, -4], [side * 56, 44, -50]) < 13, BONE)
        a.fill(a.rod([side * 70, -22, -6], [side * 9, -46, -26]) < 9, BONE)
        a.fill(a.rod([side * 9, -42, -36], [side * 52, 38, -52]) < 7, BONE)
    a.fill((s.tube(0, -46, 4, 9) < 1) & s.between(-42, -20), MUSCLE)
    heights = (-8, 5, 30, 60, 95, 140)
    y = s.profile(heights, (78, 86, 98, 98, 84, 60))
    rx = s.profile(heights, (5, 8, 20, 40, 52, 50))
    ry = s.profile(heights, (5, 6, 9, 13, 20, 22))
    sacrum = s.tube(0, y, rx, ry)
    a.fill((sacrum < 1) & s.between(-8, 200), BONE)
    a.fill((sacrum < 0.7) & s.between(20, 200), MARROW)


def _femur(a: Anatomy, side: int) -> np.ndarray:
    """Fill a femur and return its mask.

    Slices through the head show the trochanter as a separate island.
    """
    s = a.space
    head = a.displaced(side * 90, 0, 0, sd_mm=1.5)
    scale = a.rng.uniform(0.97, 1.06)
    trochanter = head + np.multiply([side * 47, 18, -28], scale)
    end = head + np.multiply([side * 40, 8, -160], scale)

    hip = np.add(trochanter, [-3 * side, -6, -6])
    thigh = np.add(trochanter, [-6 * side, -4, -10])

    def bone(thinner_mm: float) -> np.ndarray:
        ball = s.ball(head, np.full(3, 25 * scale - thinner_mm))
        knob = s.ball(trochanter, np.multiply([15, 19, 30], scale) - thinner_mm)
        neck = a.rod(head, hip) < 15 * scale - thinner_mm
        shaft = a.rod(thigh, end) < 18 * scale - thinner_mm
        return (ball < 1) | (knob < 1) | neck | shaft

    a.fill(s.ball(head, np.full(3, 29 * scale)) < 1, FAT)  # the joint
    whole = bone(0.0)
    a.fill(whole, CORTEX)
    a.fill(bone(5.0), MARROW)
    return whole & (s.z > FEMUR_END) & a.body


def _bowel(a: Anatomy) -> None:
    """Bowel loops above the bladder, some of them with gas."""
    for _ in range(9):
        x, y, z = a.rng.uniform((-62, -72, 66), (62, 30, 110))
        loop = a.space.ball([x, y, z], a.scaled(19, 16, 15, spread=0.25))
        a.fill((loop < 1) & (a.hu < 250), WALL)
        a.fill((loop < 0.72) & (a.hu < 250), a.rng.choice((GAS, STOOL, STOOL)))


def _rectum(a: Anatomy) -> None:
    """The bowel along the sacrum: its wall, and gas above stool in the lumen."""
    s = a.space
    sway, phase = a.rng.uniform(2, 9), a.rng.uniform(0, 2 * np.pi)
    x = a.rng.normal(0.0, 3.0) + sway * np.sin(s.z / 26 + np.float32(phase))
    y = s.profile(RECTUM_Z, RECTUM_Y) + np.float32(a.rng.normal(0.0, 2.0))
    radius = s.profile(RECTUM_Z, RECTUM_RADIUS) * np.float32(a.rng.uniform(0.9, 1.3))
    rx, ry = radius, np.float32(a.rng.uniform(0.78, 0.95)) * radius
    tube = s.tube(x, y, rx, ry) < 1
    lumen = s.tube(x, y, rx - RECTUM_WALL_MM, ry - RECTUM_WALL_MM) < 1
    a.fill((s.tube(x, y, rx + 5, ry + 5) < 1) & s.between(-44, 100), FAT)
    a.fill(tube & s.between(-56, 100), WALL)
    a.fill(lumen & s.between(RECTUM_ENDS[0], 100), STOOL)
    level = y + np.float32(a.rng.uniform(-8, 6))
    bubbles = np.sin(s.z / np.float32(a.rng.uniform(9, 16)) + phase) > -0.2
    a.fill(lumen & (s.y < level) & bubbles & s.between(RECTUM_ENDS[0], 100), GAS)
    inside = s.between(*RECTUM_ENDS) & a.body
    a.structures["Rectum"] = tube & inside
    a.structures["Rectal_Wall"] = tube & ~lumen & inside


def _prostate_and_bladder(a: Anatomy) -> None:
    """The prostate, and the bladder above it; neither covers the rectum."""
    s = a.space
    free = a.body & ~a.structures["Rectum"]
    centre = a.displaced(0, 5, -12, sd_mm=2.0)
    radii = a.scaled(24, 18, 20, spread=0.16)
    lobe = centre + a.rng.uniform((-9, -4, 2), (9, 2, 10))

    def gland(margin_mm: npt.ArrayLike, shift_y: float = 0.0) -> np.ndarray:
        main = s.ball(np.add(centre, [0, shift_y, 0]), np.add(radii, margin_mm))
        other = s.ball(np.add(lobe, [0, shift_y, 0]), np.add(0.75 * radii, margin_mm))
        return np.minimum(main, other) < 1

    prostate = gland(0.0) & free
    fill = a.rng.uniform(0.75, 1.2)
    dome = a.scaled(37, 31, 27, spread=0.05) * fill
    base = a.displaced(0, -18, centre[2] + 0.75 * radii[2] + dome[2], sd_mm=2.0)
    bladder = (s.ball(base, dome) < 1) & free & ~prostate
    for side in (-1, 1):  # seminal vesicles
        a.fill((s.ball([side * 15, 24, 13], [16, 7, 8]) < 1) & free, WALL)
    a.fill((gland(4.0) | (s.ball(base, dome + 4) < 1)) & free, FAT)
    a.fill(bladder, WALL)
    a.fill(bladder & (s.ball(base, dome - BLADDER_WALL_MM) < 1), URINE)
    a.fill(prostate, PROSTATE)
    a.structures["Bladder"] = bladder
    a.structures["Prostate"] = prostate
    a.structures["PTV_6000"] = gland(PTV_MARGIN_MM, PTV_SHIFT_Y) & a.body
