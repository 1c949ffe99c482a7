"""Names of exported ROIs, short enough for systems that cut them.

Input: names. Output: for each the name in the file. Names of more than 16 characters
are cut, and stay different from all others, whatever the case: some systems cut names
themselves, and two ROIs then have one.
"""

import itertools
from collections.abc import Iterable, Iterator

MOST = 16


def short(names: Iterable[str], most: int = MOST) -> dict[str, str]:
    """Each of `names` with at most `most` characters; the short ones as they are.

    >>> short(["Rectum", "LymphNodes_Pelvic_L", "LymphNodes_Pelvic_R"])
    {'Rectum': 'Rectum', 'LymphNodes_Pelvic_L': 'LymphNodes_Pelvi', \
'LymphNodes_Pelvic_R': 'LymphNodes_Pel_2'}
    """
    all_names = list(dict.fromkeys(names))
    made = {name: name for name in all_names if len(name) <= most}
    taken = {name.casefold() for name in made}
    for name in all_names:
        if name not in made:
            free = (cut for cut in _cuts(name, most) if cut.casefold() not in taken)
            made[name] = next(free)
            taken.add(made[name].casefold())
    return made


def _cuts(name: str, most: int) -> Iterator[str]:
    """The beginning of `name`, then beginnings with a number."""
    yield name[:most].rstrip()
    for number in itertools.count(2):
        end = f"_{number}"
        yield name[: most - len(end)].rstrip() + end
