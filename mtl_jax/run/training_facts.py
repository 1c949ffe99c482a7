"""How a run was trained, in words for its model card.

Input: a Run in its working directory. Output: facts by name; no path, no command.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from mtl_jax.run import learning_rate, wiring, workdir


def of(run: wiring.Run, step: int) -> dict[str, object]:
    """How `run` was trained up to `step`, by the name of each fact."""
    config = run.config
    train, data = config.train, config.data
    starts = workdir.read_json(run.workdir / "provenance.json")["starts"]
    rate = learning_rate.in_words(config.optimizer, run.schedule)
    parts = f", in {train.accumulate} parts" if train.accumulate > 1 else ""
    facts: dict[str, object] = {
        "steps": f"{step} of {run.schedule.steps}, "
        f"{run.schedule.epoch_steps} per epoch",
        "batch": f"{train.batch_size} slices{parts}",
        "optimizer": _optimizer(config.optimizer),
        "learning rate": _learning_rates(starts) or rate,
        "losses": "; ".join(_losses(run)),
        "augmentation": _augmentation(config.augment),
        "seed": config.seed,
    }
    if tuple(data.draws) != (1, 1, 1):
        neither, dose, structure = data.draws
        facts["draws of a slice in an epoch"] = (
            f"{dose} if it shows a possible dose, {structure} if a structure to "
            f"contour, otherwise {neither}"
        )
    fold, folds = data.left_out_fold
    if folds:
        facts["left out"] = f"fold {fold} of {folds} of the patients"
    return facts | _provenance(starts)


def _optimizer(adam: ml_collections.ConfigDict) -> str:
    words = f"Adam, weight decay {adam.weight_decay:g}"
    if adam.weight_decay and adam.no_decay:
        words += f" (none in {', '.join(adam.no_decay)})"
    if adam.clip_norm:
        words += f", gradients clipped to norm {adam.clip_norm:g}"
    if adam.average_decay:
        words += f", weights averaged with decay {adam.average_decay:g}"
    return words


def _losses(run: wiring.Run) -> Iterator[str]:
    loss = run.config.loss
    if "contours" in run.role.tasks:
        yield f"{loss.dice_weight:g} Dice + {loss.cross_entropy_weight:g} cross-entropy"
    if "dose" in run.role.tasks:
        yield f"mean absolute error of the dose{_counted(loss)}"
        if loss.dvh_weight:
            yield f"{loss.dvh_weight:g} area between the DVHs of structures in a slice"
    if len(run.role.tasks) > 1:
        yield f"weighted by DWA (temperature {run.config.dwa.temperature:g})"


def _counted(loss: Any) -> str:
    """Where the dose loss counts, for the words before it."""
    if loss.dose_region == "possible":
        return " where a dose is possible"
    return " in slices with possible dose" if loss.dose_slices == "possible" else ""


def _augmentation(augment: ml_collections.ConfigDict) -> str:
    if not augment.enabled:
        return "none"
    steps = ""
    if augment.rotation_step_deg:
        steps = f" and multiples of {augment.rotation_step_deg:g} degrees"
    return (
        f"flip {augment.flip:g}, rotation {augment.rotation_deg:g} degrees{steps}, "
        f"shift {augment.translation_px:g} pixels, size {augment.scale:g}, noise "
        f"{augment.ct_noise:g}"
    )


def _learning_rates(starts: Sequence[Mapping[str, Any]]) -> str:
    """The courses of the learning rate, if it changed when the run was continued."""
    courses: list[tuple[str, int]] = []
    for start in starts:
        course = start.get("learning_rate", "")
        if course and (not courses or course != courses[-1][0]):
            courses.append((course, start["from_step"]))
    if len(courses) < 2:
        return ""
    return "; ".join(f"from step {step} on: {course}" for course, step in courses)


def _provenance(starts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What a reader should know about the starts of a run; no path, no command."""
    if not starts:
        return {}
    first, last = starts[0], starts[-1]
    devices = dict.fromkeys(
        f"{item['devices']} ({item['platform']})" for item in starts
    )
    versions = ", ".join(f"{k} {v}" for k, v in last["versions"].items())
    return {
        **_origin(first),
        "starts": f"{len(starts)}, the first on {first['time'][:10]}",
        "devices": ", ".join(devices),
        "versions": f"Python {last['python']}, {versions}",
    }


def _origin(start: Mapping[str, Any]) -> dict[str, str]:
    """Where the weights of the first step came from; no path."""
    if earlier := start.get("start_from"):
        share = earlier["carried"] / earlier["parameters"]
        return {
            "started from": f"a trained network (role {earlier['role']}, site "
            f"{earlier['site']}, step {earlier['step']}, digest {earlier['digest']}), "
            f"which gave {share:.1%} of the parameters",
            "started anew": "; ".join(earlier["anew"]) or "nothing",
        }
    origin = "random weights"
    if not start["pretrained"].startswith(origin):  # a path, then the digest
        origin = f"a file of weights, {start['pretrained'].rpartition(', ')[2]}"
    return {"encoder started from": origin}
