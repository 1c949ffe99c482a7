"""The networks that come with the package: their names, and what they are in words.

Output: the folder of a network, and sentences for those who use it. It loads without
JAX; network_folder reads the files.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl_jax.core import errors, roles
from mtl_jax.evaluation import summary

DESCRIPTION = "network.json"  # the file that makes a folder one of a network
FOLDER = Path(__file__).parent
DEFAULT = "multi"


def names() -> tuple[str, ...]:
    """Names of the networks in this installation."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{DESCRIPTION}")))


def folder(name: str) -> Path:
    """The folder of the network called `name`.

    Raises:
        CheckpointError: this installation has none of that name.
    """
    if name not in names():
        raise errors.CheckpointError(
            f"no network called {name!r} comes with this installation (it has "
            f"{', '.join(names()) or 'none'}): give the working directory of a network "
            "that you trained (python -m mtl_jax.main), or install a version that has "
            "the network (docs/reference/model-zoo.md)"
        )
    return FOLDER / name


def introduce(description: Mapping[str, Any]) -> str:
    """What a network is, what it was trained on, and how well it did; three lines."""
    role = roles.get(description["role"])
    paper = f", {role.paper_name} in the paper" if role.paper_name else ""
    tasks = " and ".join(role.tasks)
    return "\n".join(
        (
            f"network {description['name']} (role {role.name}{paper}): {tasks} from "
            f"{role.input.in_tables}; {description['parameters']:,} parameters in half "
            "precision",
            f"trained on {trained_on(description)}",
            *(f"reached {result}" for result in reached(description)),
        )
    )


def trained_on(description: Mapping[str, Any]) -> str:
    """The training data, for the words before it."""
    data, about = description["data"], description["training_data"]
    what = "generated phantoms" if data["source"] == "phantom" else "patients"
    part = f" ({about['body_part']})" if about["body_part"] else ""
    return (
        f"{about['patients']} {what} of site {about['site']}{part}, "
        f"cohort {data['cohort']}"
    )


def reached(description: Mapping[str, Any]) -> Iterator[str]:
    """For each evaluated split its scores, and the best ones without an image."""
    for split, result in description["reached"].items():
        scores = ", ".join(_scores(result))
        yield f"on the {split} split ({result['patients']} patients): {scores}"


def _scores(result: Mapping[str, Any]) -> Iterator[str]:
    for key, label in summary.SCORES:
        if key not in result["scores"]:
            continue
        name, _, unit = label.partition(", ")
        value = result["scores"][key]
        if isinstance(value, int):
            yield f"{name} {value}"
            continue
        best = max if key in summary.LARGER_IS_BETTER else min
        others = [y[key] for y in result["yardsticks"].values() if key in y]
        beside = f" (without the image {best(others):.3f})" if others else ""
        yield f"{name} {value:.3f} {unit}".rstrip() + beside
