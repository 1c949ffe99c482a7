"""The results of a model card: an evaluation's figures as Markdown.

In: `evaluation/<split>.json` of a run. Out: a table with spreads, n and yardsticks, and
what the figures do not say.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mtl_jax.core import records, sites
from mtl_jax.study import runs, summary, yardsticks
from mtl_jax.study.tables import render

Summary = Mapping[str, Any]


def split(found: Summary, site: sites.Site) -> str:
    """The results of one split."""
    settings, done = found["settings"], []
    if "mean_dice" in found:
        done.append(f"contours from a probability of {settings['contour_threshold']:g}")
        done += ["their largest piece only"] if settings["largest_component"] else []
    if "dose_error" in found["metrics"] and settings["apply_possible_dose_mask"]:
        done.append("dose 0 where none is possible, if that is known")
    done += ["averaged with the mirror image"] if settings["mirror"] else []
    caption = (
        "Mean ± standard deviation over patients, of doses that of the absolute error. "
        "Yardsticks look at no image.",
        f"Scored as configured: {', '.join(done)}." if done else "",
        *_variants(found),
        f"All metrics, patient by patient: evaluation/{found['split']}.csv.",
    )
    title = f"{found['split']} split, n = {found['patients']}"
    return render.markdown(table(found, site, title, caption))


def table(
    found: Summary, site: sites.Site, title: str, caption: tuple[str, ...]
) -> render.Table:
    """A row for each score and metric: network, n, yardsticks."""
    beside = found["yardsticks"]
    labels = (yardsticks.TABLE[name].label for name in beside)
    columns = ("", "network", "n", *labels)
    rows = [
        (
            render.Cell(label),
            _score(found, key),
            render.Cell(_n_of_score(found, key), form="d"),
            *(_score(theirs, key) for theirs in beside.values()),
        )
        for key, label in summary.SCORES
        if key in found
    ]
    for metric, label in summary.shown(site).items():
        for name, mine in found["metrics"].items():
            first, _, structure = name.partition("/")
            if first == metric:
                theirs = [one["metrics"].get(name) for one in beside.values()]
                rows.append(
                    (
                        render.Cell(f"{structure} {label}"),
                        _mean(mine),
                        render.Cell(mine["n"], form="d"),
                        *map(_mean, theirs),
                    )
                )
    return render.Table(
        found["split"],
        title,
        caption,
        tuple(render.Column(name) for name in columns),
        tuple(rows),
    )


# Scores that are the mean of a metric over patients; others are means of means.
_MEANS = {"openkbp_dose_score": "dose_error", "dose_error": "dose_error"}


def _score(found: Summary, key: str) -> render.Cell:
    if key not in found:
        return render.Cell("")
    if isinstance(found[key], int):
        return render.Cell(found[key], form="d")
    mean = found["metrics"].get(_MEANS.get(key, ""), {})
    return render.Cell(found[key], mean.get("std"))


def _n_of_score(found: Summary, key: str) -> int:
    mean = found["metrics"].get(_MEANS.get(key, ""))
    return found["patients"] if mean is None else mean["n"]


def _mean(found: Summary | None) -> render.Cell:
    if found is None:
        return render.Cell("")
    return render.Cell(found["mean"], found["std"])


def _variants(found: Summary) -> Iterator[str]:
    """What the scores are when one thing is done otherwise."""
    for name, theirs in found["variants"].items():
        scores = [
            f"{label} {_score(theirs, key).text}"
            for key, label in summary.SCORES
            if key in theirs
        ]
        if scores:
            yield f"Scored {name.replace('_', ' ')}: {'; '.join(scores)}."


def limits(run: runs.Run, found: Mapping[str, Summary]) -> Iterator[str]:
    """What to know before figures are read, as lines of a list."""
    without = [split for split in records.SPLITS[1:] if split not in found]
    if without:
        yield f"- Not evaluated: {' and '.join(without)} split."
    if "train" in found:
        yield "- Results of the train split are of patients that it has learnt from."
    if "contours" in run.role.tasks:
        yield (
            "- A structure that it missed counts, with Dice 0 and the diagonal of the "
            "image as its distance (a penalty, not a measurement); so does one that it "
            "drew where there is none. A patient in whom a structure was not contoured "
            "does not count for it."
        )
    if "dose" in run.role.tasks and run.config.evaluate.apply_possible_dose_mask:
        yield (
            "- Where the data set says which voxels can have a dose, the others were "
            "set to 0 before the dose was scored. `predict` does not know that mask."
        )
    if run.config.data.source != "phantom":
        yield "- All patients are of one data set, those that it was tested on too."
