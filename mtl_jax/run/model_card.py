"""The model card: one page in Markdown about a checkpoint, for whoever is handed it.

In: a trained Run, and what of it has been evaluated. Out: `model_card.md` of its
working directory: what the network is for and what not, sizes, training data, training,
results with the yardsticks beside them, limits, and how to use it. It names no patient.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtl_jax.core import files, records, sites
from mtl_jax.evaluation import summary, yardsticks
from mtl_jax.models import networks, parameters
from mtl_jax.report import render
from mtl_jax.run import trained, wiring, workdir
from mtl_jax.train import checkpoint

NAME = "model_card.md"
PAPER = "[Kim et al. 2024](https://doi.org/10.1088/1361-6560/adb23d)"

# What goes in beside the CT.
BESIDE = {
    "none": "nothing",
    "reference": "contours that somebody drew",
    "predicted": "contours that another network drew",
    "painted": "contours of organs, and targets filled with their prescription, that "
    "somebody drew",
}


def write(run: wiring.Run) -> Path:
    """Write the card of `run`'s evaluated checkpoint, whole or not at all; its path.

    Raises:
        CheckpointError: there is no checkpoint yet.
    """
    path = run.workdir / NAME
    with files.whole(path) as partial:
        partial.write_text(text(run), encoding="utf-8")
    return path


def text(run: wiring.Run) -> str:
    """The whole page."""
    step = trained.step(run)
    item = checkpoint.read_run(run.workdir / "checkpoints" / str(step))
    found = {
        split: summary
        for split in records.SPLITS
        if (path := run.workdir / "evaluation" / f"{split}.json").exists()
        # Else it is of a checkpoint that was there before.
        if (summary := workdir.read_json(path)).get("checkpoint") == item["digest"]
    }
    name = f"{run.role.name}, {run.site.name}"
    parts = [
        f"# Model card: {plain(name)}\n",
        "**For research only. Not a medical device, not for clinical use.**\n",
        _section("What it is", _purpose(run)),
        _section("Network", _network(run, item["statistics"])),
        _section("Training data", _data(run, item.get("training_data"))),
        _section("Training", _training(run, item)),
        "## Results\n",
        *(results_of_split(found[split], run.site) for split in found),
        "" if found else "Not evaluated yet.\n",
        _section("Limits", _limits(run, item.get("training_data"), found)),
        _section("How to use it", _use(run)),
        _section("Which checkpoint", _identity(item)),
    ]
    return "\n".join(part for part in parts if part)


def plain(words: object) -> str:
    """`words`, which may come from data, as text that Markdown does not interpret."""
    return render.markdown_escape(str(words))


def _section(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"## {title}\n", *lines, ""])


def _facts(given: Mapping[str, object]) -> Iterator[str]:
    for term, value in given.items():
        yield f"- {term}: {plain(value)}"


def _purpose(run: wiring.Run) -> Iterator[str]:
    role = run.role
    what = {"contours": "the contours of organs", "dose": "the dose of a plan"}
    tasks = " and ".join(what[task] for task in role.tasks)
    paper = f" ({role.paper_name} in the paper)" if role.paper_name else ""
    yield (
        f"A network that predicts {tasks} from the axial slices of a planning CT: role "
        f"`{role.name}`{paper} of a reimplementation of {PAPER} in JAX.\n"
    )
    yield (
        "It is for research on such networks: to compare them, to measure them, to try "
        "them on data that one knows. It is not for the treatment of anybody: a "
        "prediction is no plan, no physician has approved it, and nothing here was "
        "tested for clinical use."
    )


def _network(run: wiring.Run, statistics: Mapping[str, Any]) -> Iterator[str]:
    config, network, role = run.config, run.step.network, run.role
    channels = run.preprocess.channels
    image_shape = (*run.preprocess.image_size, channels)
    count = networks.multiply_adds(
        role.network,
        config.model,
        tasks=role.tasks,
        structures=len(config.data.structures),
        image_shape=image_shape,
    )
    data = config.data
    height, width = data.image_size
    spacing = f"{data.image_spacing_mm:g} mm" if data.image_spacing_mm else "the CT's"
    values = {"stored": "as stored by the source", "hu": "in HU"}[data.ct_values]
    low, high = data.ct_window
    yield from _facts(
        {
            "network": f"{networks.describe(role.network, config.model)}, "
            f"{config.model.dtype}",
            "parameters": f"{parameters.count(network, image_shape):,}",
            "operations": f"{count / 1e9:.4g} G multiply-adds for an image",
            "image": f"{height} x {width} pixels (y, x) of {spacing} size, slice by "
            f"slice; channels: {channels}",
            "goes in beside the CT": BESIDE[role.beside_ct],
            "CT values": f"{values}, clipped to {low:g} to {high:g}, less "
            f"{statistics['ct_mean']:.2f}, divided by {statistics['ct_std']:.2f} "
            f"({statistics['origin']})",
        }
    )
    if "contours" in role.tasks:
        settings = config.evaluate
        names = ", ".join(data.structures)
        rules = f"{config.model.contour_head}, from {settings.contour_threshold:g} on"
        rules += ", largest piece only" if settings.largest_component else ""
        yield from _facts({"contours that come out": f"{names} ({rules})"})
    if "dose" in role.tasks:
        scale = f"in Gy: what the network says, times {data.prescription_gy:g} Gy"
        yield from _facts({"dose that comes out": scale})


def _data(run: wiring.Run, about: Mapping[str, Any] | None) -> Iterator[str]:
    data = run.config.data
    if data.source == "phantom":
        yield "**Generated phantoms: no patient's data.** What follows is of these.\n"
    if about is None:
        yield "The checkpoint says nothing of it: it was trained by an older version."
        return
    view = about["field_of_view_mm"]
    structures = {name: n for name, n in about["structures"].items() if n}
    yield from _facts(
        {
            "data set": f"site {about['site']}, cohort {data.cohort}",
            "part of the body": about["body_part"] or "not known",
            "patients": f"{about['patients']}, {about['with_dose']} with a dose",
            "slices": f"{about['slices']}, {span(about['slices_a_patient'], '.0f')} a "
            "patient",
            "contoured in": ", ".join(f"{n}: {k}" for n, k in structures.items())
            or "nobody",
            "pixels": f"{span(about['spacing_mm'], '.3g')} mm; "
            f"{', '.join(about['matrix_sizes'])} (y, x) of them",
            "distance of slices": f"{span(about['slice_spacing_mm'], '.3g')} mm",
            "field of view": f"{span(view['y'], '.0f')} x {span(view['x'], '.0f')} mm "
            "(y, x)",
            "length": f"{span(about['length_mm'], '.0f')} mm",
        }
    )
    values = about["ct_hu"]
    yield (
        f"\nCT values in HU, of {values['slices']} slices of {values['patients']} "
        "patients: of each percentile the lowest, median and highest over patients. "
        "The body is what is above -500 HU.\n"
    )
    yield _percentiles(values)


def _percentiles(values: Mapping[str, Any]) -> str:
    levels = list(values["grid"])
    rows = tuple(
        (
            render.Cell(name),
            *(
                render.Cell(" / ".join(f"{v:.0f}" for v in values[part][level]))
                for level in levels
            ),
        )
        for part, name in (("grid", "whole CT"), ("body", "body"))
        if values[part]
    )
    columns = (render.Column(""), *(render.Column(f"{level} %") for level in levels))
    return render.markdown_rows(render.Table("", "", (), columns, rows)).rstrip()


def span(given: Sequence[float], form: str) -> str:
    """A range in words; one figure where both ends read the same."""
    low, high = format(given[0], form), format(given[-1], form)
    return low if low == high else f"{low} to {high}"


def _training(run: wiring.Run, item: Mapping[str, Any]) -> Iterator[str]:
    config = run.config
    train, adam, loss = config.train, config.optimizer, config.loss
    starts = workdir.read_json(run.workdir / "provenance.json")["starts"]
    rate = f"Adam, learning rate {adam.learning_rate:g}"
    if adam.decay_steps:
        rate += f", to 0 along a cosine over {adam.decay_steps} steps"
    parts = f", in {train.accumulate} parts" if train.accumulate > 1 else ""
    losses = []
    if "contours" in run.role.tasks:
        losses.append(
            f"{loss.dice_weight:g} Dice + {loss.cross_entropy_weight:g} cross-entropy"
        )
    if "dose" in run.role.tasks:
        losses.append("mean absolute error of the dose")
    if len(losses) > 1:
        losses.append(f"weighted by DWA (temperature {config.dwa.temperature:g})")
    augment = config.augment
    changes = (
        f"flip {augment.flip:g}, rotation {augment.rotation_deg:g} degrees, shift "
        f"{augment.translation_px:g} pixels, size {augment.scale:g}, noise "
        f"{augment.ct_noise:g}"
    )
    fold, folds = config.data.left_out_fold
    yield from _facts(
        {
            "steps": f"{item['step']} of {run.schedule.steps}, "
            f"{run.schedule.epoch_steps} an epoch",
            "batch": f"{train.batch_size} slices{parts}",
            "optimizer": f"{rate}, weight decay {adam.weight_decay:g}",
            "losses": "; ".join(losses),
            "augmentation": changes if augment.enabled else "none",
            "seed": config.seed,
        }
        | ({"left out": f"fold {fold} of {folds} of the patients"} if folds else {})
        | _provenance(starts)
    )


def _provenance(starts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Of the starts of a run, what a reader should know; no path, no command."""
    if not starts:
        return {}
    first, last = starts[0], starts[-1]
    start = "random weights"
    if not first["pretrained"].startswith(start):  # a path, and then the digest
        start = f"a file of weights, {first['pretrained'].rpartition(', ')[2]}"
    devices = dict.fromkeys(f"{one['devices']} ({one['platform']})" for one in starts)
    versions = ", ".join(f"{k} {v}" for k, v in last["versions"].items())
    return {
        "encoder began with": start,
        "starts": f"{len(starts)}, the first on {first['time'][:10]}",
        "devices": ", ".join(devices),
        "versions": f"Python {last['python']}, {versions}",
    }


def _limits(
    run: wiring.Run, about: Mapping[str, Any] | None, found: Mapping[str, Any]
) -> Iterator[str]:
    data, role = run.config.data, run.role
    if data.source == "phantom":
        yield "- Trained on phantoms: what it says of a patient means nothing."
    yield (
        "- It knows CTs like those above. `predict` warns of others (pixels, distance "
        "of slices, field of view, CT values, part of the body), and goes on all the "
        "same."
    )
    if about is not None and about["body_part"] is None:
        yield "- Which part of the body it knows is not recorded for a site file."
    if "contours" in role.tasks:
        yield f"- It contours {plain(', '.join(data.structures))}, and nothing else."
    if "dose" in role.tasks:
        target = "" if role.beside_ct == "painted" else ", nor where the target is"
        yield (
            "- It predicts doses as they were planned there, for "
            f"{data.prescription_gy:g} Gy. It is not told the technique{target}."
        )
    if role.beside_ct != "none":
        yield f"- It takes in {BESIDE[role.beside_ct]}, and is as good as these are."
    yield "- It sees each slice alone: what it says may not fit from slice to slice."
    yield from limits(run, found)
    yield (
        "- Not tested: other hospitals, scanners and protocols than those of the data "
        "set; implants, contrast agents, children, unusual anatomy; the same training "
        "from another seed."
    )


def _use(run: wiring.Run) -> Iterator[str]:
    drawn = run.role.beside_ct in ("reference", "painted")
    where = shlex.quote(" ".join(str(run.workdir).splitlines()))
    yield "```"
    yield (
        f"python -m mtl_jax.predict --checkpoint={where} "
        f"{'--rtstruct=auto ' if drawn else ''}CT_DIR"
    )
    yield "```\n"
    out = {"contours": "contours (RTSTRUCT)", "dose": "dose (RTDOSE)"}
    yield (
        "`CT_DIR` is a folder with a CT series in DICOM"
        f"{', and the RTSTRUCT that was drawn on it' if drawn else ''}. Out come "
        f"{' and '.join(out[task] for task in run.role.tasks)}, marked as AI-generated "
        "and not for clinical use. If this folder was moved, give the path where it is "
        "now, or that of one `checkpoints/<step>`, which is enough on its own."
    )


def _identity(item: Mapping[str, Any]) -> Iterator[str]:
    score, drawing = item.get("score"), item.get("drawing")
    yield from _facts(
        {
            "step": item["step"],
            "digest": f"{item['digest']} (SHA-256 of all its arrays)",
            "data": f"{item['data_fingerprint']} (fingerprint)",
        }
        | ({} if score is None else {"validation score": f"{score:.6g}"})
        | ({"contour network": drawing["weights_digest"]} if drawing else {})
    )


Summary = Mapping[str, Any]


def results_of_split(found: Summary, site: sites.Site) -> str:
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


def limits(run: wiring.Run, found: Mapping[str, Summary]) -> Iterator[str]:
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
