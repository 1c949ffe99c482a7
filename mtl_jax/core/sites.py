"""The one table of treatment sites and their structures.

A site says which structures its data set stores (in the order of their bits), which of
them the paper contours, the prescription that scales the dose, how stored CT values
become Hounsfield units, and which metrics it reports (core/metric_names has their
names, core/reporting the file that replaces them).
"""

import dataclasses

from mtl_jax.core import errors


@dataclasses.dataclass(frozen=True)
class Structure:
    """A contoured region: an organ at risk (OAR) or a target (PTV)."""

    name: str
    tg263: str  # name after AAPM TG-263
    colour: tuple[int, int, int]  # RGB, 0 to 255, in pictures and RTSTRUCT
    aliases: tuple[str, ...] = ()
    target_gy: float | None = None  # prescription of a target; None: an OAR
    mirror: str | None = None  # the structure it becomes when left and right swap
    dvh: tuple[str, ...] = ()  # DVH metrics that are reported


@dataclasses.dataclass(frozen=True)
class Site:
    """A treatment site."""

    name: str
    structures: tuple[Structure, ...]  # stored, in this order
    contoured: tuple[str, ...]  # what the paper's networks contour, in this order
    prescription_gy: float  # dose / prescription is what networks predict
    ct_offset_hu: float  # stored CT value = HU + offset
    dose_metrics: tuple[str, ...] = ()  # reported of the dose in the whole patient
    contour_metrics: tuple[str, ...] = ()  # reported of each contoured structure
    # Rows of the paper's table of DVH errors: structure and metric, in its order.
    dose_table: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(structure.name for structure in self.structures)

    def mirrored(self, names: tuple[str, ...]) -> list[int]:
        """For each of `names` the position among them of its mirror, or its own.

        Raises:
            ConfigError: a structure's mirror is not among them.
        """
        mirrors = [self.structure(name).mirror or name for name in names]
        if missing := [mirror for mirror in mirrors if mirror not in names]:
            raise errors.ConfigError(
                f"left and right cannot swap: {', '.join(missing)} is not among "
                f"{', '.join(names)}; add it to data.structures"
            )
        return [names.index(mirror) for mirror in mirrors]

    def structure(self, name: str) -> Structure:
        """The structure called `name`; a ConfigError names the nearest one."""
        for structure in self.structures:
            if structure.name == name:
                return structure
        raise errors.ConfigError(
            f"site {self.name} has no structure {name!r}"
            f"{errors.nearest(name, self.names)}; it has {', '.join(self.names)}"
        )


# What the challenge's DVH score is made of, for its OARs and its targets.
OPENKBP_OAR_DVH = ("openkbp:D_0.1cc", "openkbp:D_mean")
OPENKBP_TARGET_DVH = ("openkbp:D_99", "openkbp:D_95", "openkbp:D_1")
# The organs of the paper's tables have the same in the other dialect beside it.
_PAPER_DVH = (*OPENKBP_OAR_DVH, "exact:D_0.1cc", "exact:D_mean")

CONTOUR_METRICS = ("dice", "hd100", "hd95", "surface_dice_2mm", "hd100_slices")
DOSE_METRICS = ("dose_error", "dose_mae_body", "dose_mae_5gy")

# Names, counts and prescriptions: Babier et al., Med. Phys. 48, 5549 (2021); the stored
# CT is HU + 1024 in unsigned integers, 0 where nothing is listed.
OPENKBP = Site(
    name="openkbp",
    structures=(
        Structure("Brainstem", "Brainstem", (0, 158, 115), dvh=_PAPER_DVH),
        Structure(
            "SpinalCord", "SpinalCord", (240, 228, 66), ("Cord",), dvh=_PAPER_DVH
        ),
        Structure(
            "RightParotid",
            "Parotid_R",
            (86, 180, 233),
            mirror="LeftParotid",
            dvh=_PAPER_DVH,
        ),
        Structure(
            "LeftParotid",
            "Parotid_L",
            (230, 159, 0),
            mirror="RightParotid",
            dvh=_PAPER_DVH,
        ),
        Structure("Esophagus", "Esophagus", (204, 121, 167), dvh=OPENKBP_OAR_DVH),
        Structure("Larynx", "Larynx", (0, 114, 178), dvh=OPENKBP_OAR_DVH),
        Structure("Mandible", "Bone_Mandible", (153, 153, 153), dvh=OPENKBP_OAR_DVH),
        Structure(
            "PTV56",
            "PTV_5600",
            (255, 190, 160),
            target_gy=56.0,
            dvh=OPENKBP_TARGET_DVH,
        ),
        Structure(
            "PTV63",
            "PTV_6300",
            (245, 130, 90),
            target_gy=63.0,
            dvh=OPENKBP_TARGET_DVH,
        ),
        Structure(
            "PTV70",
            "PTV_7000",
            (213, 60, 40),
            target_gy=70.0,
            dvh=OPENKBP_TARGET_DVH,
        ),
    ),
    contoured=("Brainstem", "SpinalCord", "LeftParotid", "RightParotid"),
    prescription_gy=70.0,
    ct_offset_hu=1024.0,
    dose_metrics=DOSE_METRICS,
    contour_metrics=CONTOUR_METRICS,
    dose_table=tuple(
        (structure, metric)
        for structure in ("Brainstem", "SpinalCord", "LeftParotid", "RightParotid")
        for metric in OPENKBP_OAR_DVH
    ),
)

SITES = {site.name: site for site in (OPENKBP,)}


def get(name: str) -> Site:
    """The site called `name`; a ConfigError names the nearest one."""
    if name not in SITES:
        raise errors.ConfigError(
            f"unknown site {name!r}{errors.nearest(name, SITES)}; "
            f"known: {', '.join(SITES)}"
        )
    return SITES[name]
