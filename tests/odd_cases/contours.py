"""What is drawn: types of contours, holes, coordinates, places off the grid."""

import numpy as np
import pydicom

from tests.odd_cases import changes as do
from tests.odd_cases import expect, shapes, writer

ON = range(1, 9)  # the slices of the plain rectum
OUTER, _ = shapes.ROIS["Rectum"]  # x -9.4 to 8.2, y 16.3 to 33.1
HOLE = shapes.Box((-4.6, 3.1), (20.3, 29.1))
ISLAND = shapes.Box((-3.1, 1.9), (21.5, 27.5))
DOT = shapes.Box((-1.9, -0.9), (24.8, 26.3))
AT_EDGE = shapes.Box((-9.4, 0.1), (20.3, 29.1))
OVER_HOLE = shapes.Box((0.2, 6.3), (18.3, 26.7))
BESIDE = shapes.Box((12.1, 18.2), (20.3, 29.1))
OVER = shapes.Box((3.1, 15.2), (20.3, 29.1))


def held(*drawn_shapes: shapes.Shape) -> np.ndarray:
    """[Z, Y, X]: the voxels of the rectum's slices in one of the shapes."""
    return shapes.mask(*((shape, ON) for shape in drawn_shapes))


def rectum(contours: list[pydicom.Dataset], voxels: np.ndarray | None) -> do.Change:
    return do.both(do.rois(Rectum=contours), do.mask("Rectum", voxels))


def nested(*ones: shapes.Shape, kind: str = "CLOSED_PLANAR") -> list[pydicom.Dataset]:
    return writer.drawn(*((shape, ON) for shape in ones), kind=kind)


def outlines(points: list[tuple[float, float]]) -> list[pydicom.Dataset]:
    """The same outline on each of the rectum's slices."""
    return [writer.contour(points, z) for z in writer.heights(ON)]


def typed(kind: str, slices: range = ON) -> do.Change:
    """Contours of the rectum of another type."""

    def change(made: writer.Made) -> None:
        contours = nested(OUTER)
        for number in range(len(contours)):
            if ON[number] in slices:
                contours[number].ContourGeometricType = kind
        do.rois(Rectum=contours)(made)

    return change


def text(alter, slices: range = range(4, 5)) -> do.Change:
    """The characters of the rectum's coordinates altered on some slices."""

    def change(made: writer.Made) -> None:
        contours = nested(OUTER)
        for number, made_contour in enumerate(contours):
            if ON[number] in slices:
                plain = "\\".join(str(v) for v in made_contour.ContourData)
                writer.with_text(made_contour, alter(plain))
        do.rois(Rectum=contours)(made)

    return change


def stated(number: int | None) -> do.Change:
    def change(made: writer.Made) -> None:
        contours = nested(OUTER)
        for made_contour in contours:
            del made_contour.NumberOfContourPoints
            if number is not None:
                made_contour.NumberOfContourPoints = number
        do.rois(Rectum=contours)(made)

    return change


def raised(by_mm, slices: range = ON) -> list[pydicom.Dataset]:
    """The rectum's contours at heights changed by `by_mm(number of the slice)`."""
    points = OUTER.points()
    return [
        writer.contour(points, z + by_mm(n))
        for n, z in zip(slices, writer.heights(slices), strict=True)
    ]


def slanted(made: writer.Made) -> None:
    contours = nested(OUTER)
    contours[3].ContourData[2] += 3.0
    do.rois(Rectum=contours)(made)


def coronal(made: writer.Made) -> None:
    (left, right_), z = OUTER.x, writer.heights(ON)
    corners = [(left, z[0]), (right_, z[0]), (right_, z[-1]), (left, z[-1])]
    numbers = [v for x, height in corners for v in (x, 20.0, height)]
    made_contour = writer.contour([], 0)
    made_contour.ContourData = numbers
    made_contour.NumberOfContourPoints = 4
    do.rois(Rectum=[made_contour])(made)


KEYHOLE = [
    *((-9.4, 16.3), (8.2, 16.3), (8.2, 33.1), (-9.4, 33.1), (-9.4, 24.7)),
    *((-4.6, 24.7), (-4.6, 29.1), (3.1, 29.1), (3.1, 20.3), (-4.6, 20.3)),
    *((-4.6, 24.7), (-9.4, 24.7)),
]
# The channel runs along the row of centres y = 22.
CHANNEL_ON_CENTRES = [(x, 22.0 if y == 24.7 else y) for x, y in KEYHOLE]
# Two squares around each other in one outline, the right one in the other direction.
EIGHT = [(-9.4, 16.3), (8.2, 33.1), (8.2, 16.3), (-9.4, 33.1)]
# Once around the whole, and once around a part of it in the same direction.
TWICE = [
    *((-9.4, 16.3), (8.2, 16.3), (8.2, 33.1), (-9.4, 33.1), (-9.4, 16.3)),
    *((-4.6, 20.3), (3.1, 20.3), (3.1, 29.1), (-4.6, 29.1), (-4.6, 20.3)),
]
# Corners on voxel centres: columns -7.5 to 7.5, rows 18 to 30.
TRACED = [(-7.5, 18.0), (7.5, 18.0), (7.5, 30.0), (-7.5, 30.0)]
TRACED_RING = [(-10.5, 14.0), (10.5, 14.0), (10.5, 34.0), (-10.5, 34.0)]
TRACED_HOLE = [(-4.5, 18.0), (4.5, 18.0), (4.5, 30.0), (-4.5, 30.0)]
INCLUSIVE = shapes.Box((-7.6, 7.6), (17.9, 30.1))
THIN = shapes.Box((-1.4, 1.4), (18.1, 19.2))  # between centres
EDGES = shapes.Box((-9.0, 9.0), (16.0, 32.0))  # half way between centres
PART_OUTSIDE = shapes.Box((30.2, 70.1), (-8.9, 7.3))


def eight(made: writer.Made) -> None:
    """Left and right of the crossing are inside, above and below are not."""
    x, y, _ = shapes.CT.places()
    u, v = (x + 0.6) / 8.8, (y - 24.7) / 8.4
    inside = (abs(v) < abs(u)) & OUTER.holds(x, y) & held(OUTER)
    rectum(outlines(EIGHT), inside)(made)


def triangles(made: writer.Made) -> None:
    """3,000 large triangles on one slice, combined by exclusive or."""
    rng = np.random.default_rng(5)
    z = writer.heights(range(4, 5))[0]
    x, y, _ = shapes.CT.places()
    inside = np.zeros(x[4].shape, bool)
    contours = []
    for _ in range(3000):
        corners = np.round(rng.uniform((-40, -40), (40, 40), (3, 2)), 2)
        triangle = shapes.Triangle(tuple(map(tuple, corners.tolist())))
        inside ^= triangle.holds(x[4], y[4])
        contours.append(writer.contour(triangle.points(), z, "CLOSEDPLANAR_XOR"))
    voxels = np.zeros(x.shape, bool)
    voxels[4] = inside
    rectum(contours, voxels)(made)


TYPES: dict[str, expect.Case] = {
    "point in an ROI of its own": expect.right(
        "21", do.rois(Isocentre=[writer.contour([(1, 2)], -200.0, "POINT")])
    ),
    "point beside the organ's contours": expect.noted(
        "21",
        do.rois(Rectum=[*nested(OUTER), writer.contour([(1, 20)], -200.0, "POINT")]),
        "POINT: 1",
    ),
    "open line beside the organ's contours": expect.noted(
        "21",
        do.rois(
            Rectum=[
                *nested(OUTER),
                writer.contour(OVER.points(), -200.0, "OPEN_PLANAR"),
            ]
        ),
        "OPEN_PLANAR: 1",
    ),
    "open line of a centre beside the contours": expect.noted(
        "21",
        do.rois(
            Rectum=[
                *nested(OUTER),
                writer.contour(OVER.points(), -200.0, "OPEN_NONPLANAR"),
            ]
        ),
        "OPEN_NONPLANAR: 1",
    ),
    "points alone": expect.refused(
        "21", typed("POINT"), "Rectum: no closed contour can be read"
    ),
    "open lines alone": expect.refused(
        "21", typed("OPEN_PLANAR"), "Rectum: no closed contour can be read"
    ),
    "the type is missing": expect.refused(
        "21", typed(""), "Rectum: no closed contour can be read"
    ),
    "the type is misspelt": expect.refused(
        "21", typed("CLOSED PLANAR"), "unknown type"
    ),
    "the type is misspelt on the upper half": expect.refused(
        "21",
        typed("CLOSED PLANAR", range(5, 9)),
        "Rectum: only a part of it can be read",
    ),
    "the type in small letters": expect.right("21", typed("closed_planar")),
    "CLOSEDPLANAR_XOR without a hole": expect.right("22", typed("CLOSEDPLANAR_XOR")),
    "ring by CLOSEDPLANAR_XOR": expect.right(
        "22",
        rectum(nested(HOLE, OUTER, kind="CLOSEDPLANAR_XOR"), held(OUTER) & ~held(HOLE)),
    ),
    "overlap by CLOSEDPLANAR_XOR": expect.right(
        "22",
        rectum(nested(OUTER, OVER, kind="CLOSEDPLANAR_XOR"), held(OUTER) ^ held(OVER)),
    ),
    "twice the same by CLOSEDPLANAR_XOR": expect.right(
        "22",
        rectum(nested(OUTER, BESIDE, BESIDE, kind="CLOSEDPLANAR_XOR"), held(OUTER)),
    ),
    "ring by a contour in another": expect.right(
        "22", rectum(nested(HOLE, OUTER), held(OUTER) & ~held(HOLE))
    ),
    "island in a hole": expect.right(
        "22",
        rectum(nested(ISLAND, OUTER, HOLE), held(OUTER) & ~held(HOLE) | held(ISLAND)),
    ),
    "hole in an island in a hole": expect.right(
        "22",
        rectum(
            nested(DOT, ISLAND, HOLE, OUTER),
            held(OUTER) & ~held(HOLE) | held(ISLAND) & ~held(DOT),
        ),
    ),
    "hole that shares an edge with its outline": expect.right(
        "22", rectum(nested(OUTER, AT_EDGE), held(OUTER) & ~held(AT_EDGE))
    ),
    "two holes that overlap": expect.noted(
        "22",
        rectum(nested(OUTER, HOLE, OVER_HOLE), held(OUTER) & ~held(HOLE, OVER_HOLE)),
        "overlap in part",
    ),
    "hole by XOR in a plain outline": expect.right(
        "22",
        rectum(
            [*nested(OUTER), *nested(HOLE, kind="CLOSEDPLANAR_XOR")],
            held(OUTER) & ~held(HOLE),
        ),
    ),
    "ring by a keyhole": expect.right(
        "22", rectum(outlines(KEYHOLE), held(OUTER) & ~held(HOLE))
    ),
    "keyhole whose channel runs through voxel centres": expect.right(
        "22", rectum(outlines(CHANNEL_ON_CENTRES), held(OUTER) & ~held(HOLE))
    ),
    "two parts beside each other": expect.right(
        "22", rectum(nested(OUTER, BESIDE), held(OUTER, BESIDE))
    ),
    "two parts that overlap": expect.noted(
        "22", rectum(nested(OUTER, OVER), held(OUTER, OVER)), "overlap in part"
    ),
    "every contour twice": expect.noted(
        "22", do.rois(Rectum=nested(OUTER, OUTER)), "copies of others: 8"
    ),
    "every contour twice, once reversed": expect.noted(
        "22",
        do.rois(Rectum=[*nested(OUTER), *outlines(OUTER.points()[::-1])]),
        "copies of others: 8",
    ),
    "every contour twice, 0.01 mm apart": expect.noted(
        "22",
        do.rois(Rectum=nested(OUTER, shapes.Box((-9.41, 8.21), (16.31, 33.11)))),
        "Rectum",
    ),
    "outline like an 8": expect.right("22", eight),
    "outline that goes around twice": expect.noted(
        "22",
        rectum(outlines(TWICE), held(OUTER) & ~held(HOLE)),
        "cross themselves, with holes where they overlap: 8",
    ),
    "outlines in the other direction": expect.right(
        "22", do.rois(Rectum=outlines(OUTER.points()[::-1]))
    ),
    "hole in the direction of its outline, and against it": expect.right(
        "22",
        rectum(
            [*nested(OUTER), *outlines(HOLE.points()[::-1])],
            held(OUTER) & ~held(HOLE),
        ),
    ),
    "the first point again at the end": expect.right(
        "22", do.rois(Rectum=outlines([*OUTER.points(), OUTER.points()[0]]))
    ),
    "every point twice": expect.right(
        "22", do.rois(Rectum=outlines([p for p in OUTER.points() for _ in (1, 2)]))
    ),
    "contours of one and two points": expect.noted(
        "21, 31",
        do.rois(
            Rectum=[
                *nested(OUTER),
                writer.contour([(1, 20)], -200.0),
                writer.contour([(1, 20), (3, 20)], -200.0),
            ]
        ),
        "fewer than 3 points: 2",
    ),
    "contour smaller than a voxel": expect.right(
        "24", do.rois(Rectum=nested(OUTER, shapes.Box((12.1, 12.2), (20.3, 20.4))))
    ),
    "hole smaller than a voxel": expect.right(
        "24", do.rois(Rectum=nested(OUTER, shapes.Box((0.1, 0.2), (20.3, 20.4))))
    ),
    "20,000 points in an outline": expect.right(
        "23",
        do.rois(
            Rectum=outlines(
                [(float(x), 16.3) for x in np.linspace(-9.4, 8.2, 20_000)]
                + [(8.2, 33.1), (-9.4, 33.1)]
            )
        ),
    ),
    "3,000 large triangles by exclusive or": expect.right("time", triangles),
}

COORDINATES: dict[str, expect.Case] = {
    "decimal commas": expect.refused(
        "28",
        text(lambda plain: plain.replace(".", ","), ON),
        "damaged coordinates",
    ),
    "backslash at the end": expect.refused(
        "28", text(lambda plain: plain + "\\", ON), "damaged coordinates"
    ),
    "backslash at the end on one slice": expect.refused(
        "28", text(lambda plain: plain + "\\"), "only a part of it"
    ),
    "blank among the numbers": expect.refused(
        "28", text(lambda plain: plain.replace("16.3", " ", 1)), "damaged coordinates"
    ),
    "number missing": expect.refused(
        "28", text(lambda plain: plain.rpartition("\\")[0]), "damaged coordinates"
    ),
    "word among the numbers": expect.refused(
        "28", text(lambda plain: plain.replace("16.3", "nan", 1)), "damaged coordinates"
    ),
    "no coordinates": expect.refused("28", text(lambda plain: "", ON), "Rectum"),
    "NumberOfContourPoints that is wrong": expect.refused(
        "28", stated(5), "damaged coordinates: 8"
    ),
    "no NumberOfContourPoints": expect.right("28", stated(None)),
    "numbers with exponents, signs and spaces": expect.right(
        "31", text(lambda plain: plain.replace("16.3", " +1.63E+1 "), ON)
    ),
    "numbers of more than 16 characters": expect.right(
        "31", text(lambda plain: plain.replace("16.3", "16.300000000000000711"), ON)
    ),
    "coordinates of more than 64 KiB as unknown VR": expect.right(
        "31",
        do.rois(
            Rectum=outlines(
                [(round(float(x), 3), 16.3) for x in np.linspace(-9.4, 8.2, 6_000)]
                + [(8.2, 33.1), (-9.4, 33.1)]
            )
        ),
    ),
    "heights with noise": expect.right(
        "25", do.rois(Rectum=raised(lambda n: 0.0004 * (n % 3)))
    ),
    "heights 0.3 mm off": expect.noted(
        "25", do.rois(Rectum=raised(lambda n: 0.3)), "moved to the nearest slice: 8"
    ),
    "heights almost half way to the next slice": expect.noted(
        "25", do.rois(Rectum=raised(lambda n: 2.4)), "moved to the nearest slice: 8"
    ),
    "contours at two heights near one slice": expect.noted(
        "25",
        do.rois(
            Rectum=[*nested(OUTER), *[writer.contour(BESIDE.points(), -200.0 + 1.4)]]
        ),
        "others are nearer their slice: 1",
    ),
    "contours on every second slice": expect.noted(
        "25",
        do.shaped("Rectum", (OUTER, range(1, 9, 2))),
        "left empty: 3",
    ),
    "contours on every second slice, gaps filled": expect.noted(
        "25",
        do.both(
            do.shaped("Rectum", (OUTER, range(1, 8))),
            do.rois(Rectum=writer.drawn((OUTER, range(1, 8, 2)))),
        ),
        "filled: 3",
        options={"fill_gaps": 1},
    ),
    "contours below the CT": expect.noted(
        "25, 26",
        do.rois(Rectum=[*nested(OUTER), writer.contour(OUTER.points(), -240.0)]),
        "outside the CT",
    ),
    "all contours below the CT": expect.refused(
        "25",
        do.rois(Rectum=[writer.contour(OUTER.points(), -240.0)]),
        "Rectum: it holds no voxel of the CT",
    ),
    "contours partly beside the CT": expect.noted(
        "26", do.shaped("Femur_L", (PART_OUTSIDE, range(1, 8))), "outside the CT"
    ),
    "contours up to the border of the CT": expect.right(
        "31", do.shaped("Femur_L", (shapes.Box((30.2, 47.9), (-8.9, 7.3)), range(1, 8)))
    ),
    "contours beside the CT": expect.refused(
        "26",
        do.rois(Rectum=writer.drawn((shapes.Box((70.0, 80.0), (0.0, 9.0)), ON))),
        "Rectum: it holds no voxel of the CT",
    ),
    "contours metres away": expect.refused(
        "26",
        do.rois(Rectum=writer.drawn((shapes.Box((4000.0, 4010.0), (0.0, 9.0)), ON))),
        "Rectum: a contour is far from the CT",
    ),
    "structure that networks do not contour beside the CT": expect.noted(
        "26",
        do.both(
            do.rois(PTV_6000=writer.drawn((shapes.Box((70.0, 80.0), (0.0, 9.0)), ON))),
            do.mask("PTV_6000", None),
        ),
        "PTV_6000: left out: it holds no voxel of the CT",
    ),
    "a slanted contour": expect.refused(
        "27", slanted, "Rectum: a contour is not in an axial plane"
    ),
    "coronal contours": expect.refused(
        "27", coronal, "Rectum: a contour is not in an axial plane"
    ),
    "a slanted contour of what networks do not contour": expect.noted(
        "27",
        do.both(
            do.rois(
                PTV_6000=[
                    writer.data(
                        ContourGeometricType="CLOSED_PLANAR",
                        NumberOfContourPoints=3,
                        ContourData=[0, 0, -200, 5, 0, -200, 0, 5, -190],
                    )
                ]
            ),
            do.mask("PTV_6000", None),
        ),
        "left out: a contour is not in an axial plane",
    ),
    "outlines through voxel centres": expect.noted(
        "23",
        rectum(outlines(TRACED), held(INCLUSIVE)),
        "through voxel centres, which count as inside: 8",
    ),
    "ring of outlines through voxel centres": expect.noted(
        "23",
        rectum(
            [*outlines(TRACED_RING), *outlines(TRACED_HOLE)],
            held(shapes.Box((-10.6, 10.6), (13.9, 34.1)))
            & ~held(shapes.Box((-4.4, 4.4), (18.1, 29.9))),
        ),
        "through voxel centres, which count as inside: 16",
    ),
    "outlines along voxel edges": expect.right(
        "23, 31", rectum(outlines(EDGES.points()), held(EDGES))
    ),
    "contours between voxel centres": expect.refused(
        "24", do.rois(Rectum=nested(THIN)), "Rectum: it holds no voxel of the CT"
    ),
    "an ellipse of a thousandth of a millimetre": expect.refused(
        "24",
        do.rois(Rectum=nested(shapes.Ellipse((1.0, 21.0), (0.001, 0.001)))),
        "Rectum: it holds no voxel of the CT",
    ),
    "two parts that share an edge through voxel centres": expect.right(
        "23",
        do.rois(
            Rectum=nested(
                shapes.Box((-9.4, 1.5), (16.3, 33.1)),
                shapes.Box((1.5, 8.2), (16.3, 33.1)),
            )
        ),
    ),
}
