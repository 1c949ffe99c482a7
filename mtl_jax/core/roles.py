"""The one table of roles: what goes in, what comes out, which network.

A role is one row of the paper's comparison. Everything that differs between the rows is
data here; no other module branches on a role's name.
"""

import dataclasses
from typing import Literal

from mtl_jax.core import errors

Contours = Literal["none", "reference", "predicted", "painted"]
Task = Literal["contours", "dose"]


@dataclasses.dataclass(frozen=True)
class Role:
    """A row of the comparison."""

    name: str
    paper_name: str | None  # None: not in the paper
    beside_ct: Contours  # contours that go in as channels beside the CT
    tasks: tuple[Task, ...]  # what is predicted, in this order everywhere
    network: str  # a row of models/networks.NETWORKS


BOTH: tuple[Task, ...] = ("contours", "dose")

ROLES = {
    role.name: role
    for role in (
        Role("contour", "DL-Baseline", "none", ("contours",), "single"),
        Role("baseline", "Baseline", "none", ("dose",), "single"),
        Role("seq_human", "Seq-Human", "reference", ("dose",), "single"),
        Role("seq_auto", "Seq-Automated", "predicted", ("dose",), "single"),
        Role("multi", "Multi-Automated", "none", BOTH, "ctan"),
        Role("hps", None, "none", BOTH, "hps"),
        Role("mtan", None, "none", BOTH, "mtan"),
        Role("informed", None, "painted", ("dose",), "single"),
    )
}


def get(name: str) -> Role:
    """The role called `name`; a ConfigError names the nearest one."""
    if name not in ROLES:
        raise errors.ConfigError(
            f"unknown role {name!r}{errors.nearest(name, ROLES)}; "
            f"roles: {', '.join(ROLES)}"
        )
    return ROLES[name]
