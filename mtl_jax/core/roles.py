"""The tables of roles and of their inputs: one row is one role, or one kind of input.

A role is one row of the paper's comparison: what its network is given, what it
predicts, and which network that is. All differences between roles are data in this
file. Other modules read the fields and never compare a role's or an input's name.
"""

import dataclasses
from typing import Literal

from mtl_jax.core import errors

Task = Literal["contours", "dose"]


@dataclasses.dataclass(frozen=True)
class Input:
    """What a network is given beside the CT.

    `pipeline/image_channels.CHANNELS` has the channels that each input becomes.
    """

    name: str
    in_tables: str  # in a column of a table
    in_words: str  # in a sentence of the model card
    masks: Literal["masks", "predicted"] | None  # the key of a record; None: CT alone
    by_structure: bool = False  # one channel for each of data.structures
    shows_targets: bool = False  # the input shows the targets
    needs_rtstruct: bool = False  # `predict` needs contours that a person drew
    contoured_by: str | None = None  # the role whose trained runs draw the contours


INPUTS = {
    each.name: each
    for each in (
        Input("none", "CT", "nothing", None),
        Input(
            "reference",
            "CT, reference contours",
            "manually drawn contours",
            "masks",
            by_structure=True,
            needs_rtstruct=True,
        ),
        Input(
            "predicted",
            "CT, predicted contours",
            "contours that another network predicted",
            "predicted",
            by_structure=True,
            contoured_by="contour",
        ),
        Input(
            "painted",
            "CT, organs, targets",
            "manually drawn contours of organs, and targets filled with their "
            "prescription",
            "masks",
            shows_targets=True,
            needs_rtstruct=True,
        ),
    )
}

# What a role is in the paper's comparison. "proposed": the paper's method. "rival": the
# proposed role is tested against it. "base": differences are in percent of its error.
Part = Literal["proposed", "rival", "base"]


@dataclasses.dataclass(frozen=True)
class Role:
    """A row of the comparison."""

    name: str
    paper_name: str | None  # None: not in the paper
    beside_ct: str  # a key of INPUTS
    tasks: tuple[Task, ...]  # what is predicted, in this order everywhere
    network: str  # a row of models/networks.NETWORKS
    part: Part | None = None

    @property
    def input(self) -> Input:
        """What the network is given beside the CT."""
        return INPUTS[self.beside_ct]

    @property
    def contours_ct_alone(self) -> bool:
        """Whether it predicts contours and needs none, so it can contour for others."""
        return "contours" in self.tasks and self.input.masks is None


BOTH: tuple[Task, ...] = ("contours", "dose")

ROLES = {
    role.name: role
    for role in (
        Role("contour", "DL-Baseline", "none", ("contours",), "single", "rival"),
        Role("baseline", "Baseline", "none", ("dose",), "single", "base"),
        Role("seq_human", "Seq-Human", "reference", ("dose",), "single"),
        Role("seq_auto", "Seq-Automated", "predicted", ("dose",), "single", "rival"),
        Role("multi", "Multi-Automated", "none", BOTH, "ctan", "proposed"),
        Role("hps", None, "none", BOTH, "hps"),
        Role("mtan", None, "none", BOTH, "mtan"),
        Role("multi_own_masks", None, "none", BOTH, "ctan_own_masks"),
        Role("multi_no_bottleneck", None, "none", BOTH, "ctan_no_bottleneck"),
        Role("informed", None, "painted", ("dose",), "single"),
    )
}


def get(name: str) -> Role:
    """The role called `name`; a ConfigError names the nearest one.

    >>> role = get("seq_auto")
    >>> role.tasks, role.input.in_tables, role.input.contoured_by
    (('dose',), 'CT, predicted contours', 'contour')
    """
    if name not in ROLES:
        raise errors.ConfigError(
            f"unknown role {name!r}{errors.nearest(name, ROLES)}; "
            f"roles: {', '.join(ROLES)}"
        )
    return ROLES[name]


def in_paper() -> tuple[str, ...]:
    """Names of the roles that the paper compares."""
    return tuple(role.name for role in ROLES.values() if role.paper_name)


def playing(part: Part, task: Task) -> str:
    """Name of the role that plays `part` in the paper's comparison of `task`."""
    return next(r.name for r in ROLES.values() if r.part == part and task in r.tasks)
