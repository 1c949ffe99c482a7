"""The flags of `python -m mtl_jax.study`, beside those of all commands that train.

Output: their values, once the command line was read. It loads without JAX.
"""

from absl import flags

from mtl_jax.core import roles

ROLES = flags.DEFINE_list(
    "roles",
    list(roles.in_paper()),
    "roles to compare, separated by commas: " + ", ".join(roles.ROLES),
)
SEEDS = flags.DEFINE_string(
    "seeds", None, "seeds, such as 0,1,2 (default: config.seed)"
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "print the runs, their progress and their times, and exit"
)
GATHER = flags.DEFINE_list(
    "gather",
    [],
    "folders of the same study on other machines, separated by commas: copy the runs "
    "that are missing here",
)
PRINT_METRICS = flags.DEFINE_bool(
    "print_metrics",
    False,
    "print the metrics file of the configuration's site, and exit",
)

GROUPS = {
    "the comparison": (ROLES, SEEDS, GATHER),
    "instead of it": (DRY_RUN, PRINT_METRICS),
}
