"""The table of treatment sites and their structures.

A site lists the structures that its data set stores (in the order of their bits), those
that the paper contours, the prescription that scales the dose, the offset of stored CT
values to Hounsfield units, and the metrics to report (core/metric_names has the names;
core/reported_metrics reads a file that replaces them). A user's own site is a file
(core/site_files); its path is used as its name.
"""

from pathlib import Path
from typing import Any

from mtl_jax.core import anatomy, errors, site_files

Site, Structure = anatomy.Site, anatomy.Structure
CONTOUR_METRICS, DOSE_METRICS = anatomy.CONTOUR_METRICS, anatomy.DOSE_METRICS

# The metrics of the challenge's DVH score, for its OARs and its targets.
OPENKBP_OAR_DVH = ("openkbp:D_0.1cc", "openkbp:D_mean")
OPENKBP_TARGET_DVH = ("openkbp:D_99", "openkbp:D_95", "openkbp:D_1")
# Relative to a target's prescription: metrics/target_coverage.
COVERAGE = ("target:D_95", "target:HI", "target:CI")
# The organs of the paper's tables also have them in the other dialect.
_PAPER_DVH = (*OPENKBP_OAR_DVH, "exact:D_0.1cc", "exact:D_mean")

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
            dvh=(*OPENKBP_TARGET_DVH, *COVERAGE),
        ),
        Structure(
            "PTV63",
            "PTV_6300",
            (245, 130, 90),
            target_gy=63.0,
            dvh=(*OPENKBP_TARGET_DVH, *COVERAGE),
        ),
        Structure(
            "PTV70",
            "PTV_7000",
            (213, 60, 40),
            target_gy=70.0,
            dvh=(*OPENKBP_TARGET_DVH, *COVERAGE),
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

# Table 1 of the paper, in the order of its Table 2; it states no dialect. The names are
# TG-263's. The paper gives no volumes: these are bounds to look at what lies outside
# them, reasoned from sizes. Femurs: the proximal part down to the ischial tuberosities
# (RTOG's atlas: Gay et al., Int. J. Radiat. Oncol. Biol. Phys. 83, e353, 2012), so more
# than the ball of a head alone (45 to 54 mm across: 48 to 82 cm3). Rectum: some 10 to
# 16 cm long, 2 to 5 cm across. Prostate: from an atrophic gland to a giant one; its
# PTV: the same with some 3 to 10 mm around it. Bladder: from just emptied to overfull.
_TARGET_DVH = ("exact:D_99", "exact:D_mean")
_PELVIC_DVH = ("exact:D_30", "exact:D_50", "exact:V_30Gy", "exact:D_mean")
_FEMUR_DVH = ("exact:D_5", "exact:V_14Gy", "exact:V_22Gy", "exact:D_mean")

PROSTATE = Site(
    name="prostate",
    structures=(
        Structure(
            "Prostate",
            "Prostate",
            (213, 60, 40),
            aliases=("ProstateGland", "Prostata"),
            target_gy=60.0,
            dvh=(*_TARGET_DVH, *COVERAGE),
            volume_cc=(10.0, 250.0),
        ),
        Structure(
            "Rectum",
            "Rectum",
            (204, 121, 167),
            aliases=("Rektum", "Recto", "Retto"),
            dvh=_PELVIC_DVH,
            volume_cc=(20.0, 300.0),
        ),
        Structure(
            "Bladder",
            "Bladder",
            (240, 228, 66),
            aliases=("UrinaryBladder", "Harnblase", "Vessie", "Vejiga", "Vescica"),
            dvh=_PELVIC_DVH,
            volume_cc=(30.0, 1000.0),
        ),
        Structure(
            "Femur_L",
            "Femur_L",
            (230, 159, 0),
            aliases=("Femur_RTOG_L", "ProximalFemur_L"),
            mirror="Femur_R",
            dvh=_FEMUR_DVH,
            volume_cc=(90.0, 500.0),
        ),
        Structure(
            "Femur_R",
            "Femur_R",
            (86, 180, 233),
            aliases=("Femur_RTOG_R", "ProximalFemur_R"),
            mirror="Femur_L",
            dvh=_FEMUR_DVH,
            volume_cc=(90.0, 500.0),
        ),
        # Not in the paper: stored where it is there, for the role `informed`.
        Structure(
            "PTV_6000",
            "PTV_6000",
            (245, 130, 90),
            target_gy=60.0,
            dvh=("exact:D_99", "exact:D_95", "exact:D_1", "exact:D_mean", *COVERAGE),
            volume_cc=(25.0, 500.0),
        ),
    ),
    contoured=("Prostate", "Rectum", "Bladder", "Femur_L", "Femur_R"),
    prescription_gy=60.0,
    ct_offset_hu=0.0,
    dose_metrics=DOSE_METRICS,
    contour_metrics=CONTOUR_METRICS,
    dose_table=(
        *(("Prostate", metric) for metric in _TARGET_DVH),
        *((name, m) for name in ("Rectum", "Bladder") for m in _PELVIC_DVH),
        *((name, m) for name in ("Femur_L", "Femur_R") for m in _FEMUR_DVH),
    ),
)

SITES = {site.name: site for site in (OPENKBP, PROSTATE)}


def get(name: str) -> Site:
    """The site called `name`, or the one in the file at that path.

    Raises:
        ConfigError: the site is unknown (the message has the nearest name), or the file
            is invalid.
    """
    if Path(name).suffix in site_files.SUFFIXES:
        site = site_files.read(Path(name).expanduser())
        if site.name in SITES:
            raise errors.ConfigError(
                f"site file {name}: {site.name} is the name of a built-in site: choose "
                "another"
            )
        return site
    if name not in SITES:
        raise errors.ConfigError(
            f"unknown site {name!r}{errors.nearest(name, SITES)}; "
            f"known: {', '.join(SITES)}, or the path of a file "
            f"({', '.join(site_files.SUFFIXES)})"
        )
    return SITES[name]


def to_json(site: Site) -> str | dict[str, Any]:
    """Plain values for a metadata file: the name, or all values of a user's site."""
    return site.name if site.name in SITES else site_files.plain(site)


def from_json(value: str | dict[str, Any]) -> Site:
    """The site that `to_json` gave as `value`; no file is opened for it.

    Raises:
        ConfigError: it is neither a built-in site's name, nor the values of a site.
    """
    if isinstance(value, str):
        if value not in SITES:
            raise errors.ConfigError(
                f"unknown site {value!r}; there are {', '.join(SITES)}, and a site of "
                "one's own is stored with all its values"
            )
        return SITES[value]
    return site_files.parse(value)
