"""The paper's comparison: trains missing runs, evaluates, writes tables and report.

    python -m mtl_jax.study --config=configs/openkbp.py [--roles=...] [--seeds=0,1,2]

If it is stopped, start it again: it resumes. The results of a split go to
`runs/<config>/study/<split>/`: report, tables, figures, DVH plots and all rows.
Exit status: 0 done; 1 bad input or data; 2 usage; 75 preempted, saved, start again.
"""

if __name__ == "__main__":
    from mtl_jax.core import huge_pages

    huge_pages.use()

import sys
from typing import NoReturn

from mtl_jax.run import flags
from mtl_jax.study import study_flags


def main(arguments: list[str]) -> NoReturn:
    """The command; ends with its exit status."""
    flags.parse_or_help(
        arguments,
        "study",
        "mtl_jax.study",
        "The paper's comparison: trains missing runs, evaluates, writes tables and a "
        "report.\nIf it is stopped, start it again: it resumes.",
        "--config=question --roles=contour,multi --seeds=0,1",
        study_flags.GROUPS,
    )
    from mtl_jax.run import command  # takes seconds: after the flags
    from mtl_jax.study import comparison

    command.start(comparison.compare)


if __name__ == "__main__":
    main(sys.argv[1:])
