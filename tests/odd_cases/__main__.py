"""Read all odd patients, and write the page on them: python -m tests.odd_cases.

Exits with status 1 if the reader is wrong about one.
"""

import pathlib
import sys
import tempfile

from tests.odd_cases import outcome, page, table


def main() -> int:
    outcomes = {}
    for number, ((group, name), case) in enumerate(table.CASES.items(), 1):
        with tempfile.TemporaryDirectory() as folder:
            seen = outcome.of(case, pathlib.Path(folder))
        outcomes[group, name] = seen
        print(f"{number:3d} of {len(table.CASES)}  {seen.kind:8s}  {group}: {name}")
        if seen.reason:
            print(f"    {seen.reason}: {seen.said}")
    page.PAGE.write_text(page.text(outcomes), encoding="utf-8")
    kinds = [seen.kind for seen in outcomes.values()]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in page.KINDS)
    print(f"{len(kinds)} cases: {counts}. Written: {page.PAGE.name}")
    return 1 if outcome.WRONG in kinds else 0


if __name__ == "__main__":
    sys.exit(main())
