"""The model card: one page in Markdown about a checkpoint, for its users.

Input: a trained Run and its evaluations. Output: `model_card.md` of its working
directory: what the network is for and what not, sizes, training data, training, results
with the yardsticks beside them, limits, and how to use it. It names no patient.
"""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mtl_jax.core import body_region, files, records, roles, sites
from mtl_jax.evaluation import summary, yardsticks
from mtl_jax.models import networks, parameters
from mtl_jax.report import render
from mtl_jax.run import predictions, training_data, training_facts, wiring, workdir
from mtl_jax.train import checkpoint

NAME = "model_card.md"
USE = "How to use it"
PAPER = "[Kim et al. 2024](https://doi.org/10.1088/1361-6560/adb23d)"


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
    step = predictions.evaluated_step(run)
    item = checkpoint.read_run(run.workdir / "checkpoints" / str(step))
    evaluations = {
        split: evaluation
        for split in records.SPLITS
        if (path := run.workdir / "evaluation" / f"{split}.json").exists()
        # Otherwise it belongs to an earlier checkpoint.
        if (evaluation := workdir.read_json(path)).get("checkpoint") == item["digest"]
    }
    name = f"{run.role.name}, {run.site.name}"
    parts = [
        f"# Model card: {_plain(name)}\n",
        "**For research only. Not a medical device, not for clinical use.**\n",
        _section("What it is", _purpose(run)),
        _section("Network", _network(run, item["statistics"])),
        _section("Training data", _data(run, item.get("training_data"))),
        _section("Training", _training(run, item)),
        "## Results\n",
        *(_results(evaluation, run.site) for evaluation in evaluations.values()),
        "" if evaluations else "Not evaluated yet.\n",
        _section("Limits", _limits(run, item.get("training_data"), evaluations)),
        _section(USE, _use(run)),
        _section("Which checkpoint", _identity(item)),
    ]
    return "\n".join(part for part in parts if part)


def _plain(value: object) -> str:
    """`value`, which may come from data, as text that Markdown does not interpret."""
    return render.markdown_escape(str(value))


def _section(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"## {title}\n", *lines, ""])


def _facts(facts: Mapping[str, object]) -> Iterator[str]:
    for term, value in facts.items():
        yield f"- {term}: {_plain(value)}"


def _purpose(run: wiring.Run) -> Iterator[str]:
    role = run.role
    outputs = {"contours": "the contours of organs", "dose": "the dose of a plan"}
    tasks = " and ".join(outputs[task] for task in role.tasks)
    paper = f" ({role.paper_name} in the paper)" if role.paper_name else ""
    yield (
        f"A network that predicts {tasks} from the axial slices of a planning CT: role "
        f"`{role.name}`{paper} of a reimplementation of {PAPER} in JAX.\n"
    )
    yield (
        "It is for research on such networks: to compare them, to measure them, and to "
        "try them on known data. It is not for the treatment of patients: a prediction "
        "is not a plan, no physician has approved it, and it was not tested for "
        "clinical use."
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
            f"slice; channels: {channels} ({'; '.join(run.preprocess.channel_names)})",
            "input besides the CT": role.input.in_words,
            "CT values": f"{values}, clipped to {low:g} to {high:g}, less "
            f"{statistics['ct_mean']:.2f}, divided by {statistics['ct_std']:.2f} "
            f"({statistics['origin']})",
            **_further(run),
        }
    )
    if "contours" in role.tasks:
        settings = config.evaluate
        names = ", ".join(data.structures)
        rules = "softmax, the most probable of background and structures"
        if config.model.contour_head == "sigmoid":
            rules = f"sigmoid, threshold {settings.contour_threshold:g}"
        rules += ", largest component only" if settings.largest_component else ""
        yield from _facts({"predicted contours": f"{names} ({rules})"})
    if "dose" in role.tasks:
        scale = f"in Gy: the network's output times {data.prescription_gy:g} Gy"
        yield from _facts({"predicted dose": scale})


def _further(run: wiring.Run) -> dict[str, str]:
    """The image's channels that are not in the paper."""
    further, facts = run.preprocess.further, {}
    low, high = further.ct_second_window
    if low < high:
        facts["second window"] = f"{low:g} to {high:g}, scaled to [-1, 1]"
    if further.neighbours:
        apart = f"{further.neighbour_mm:g} mm apart (the nearest slice)"
        facts["neighbouring slices"] = f"{further.neighbours} on each side, " + (
            apart if further.neighbour_mm else "adjacent"
        )
    if further.target_distance_mm:
        facts["distance to the targets"] = (
            f"signed, in 3D, divided by {further.target_distance_mm:g} mm"
        )
    return facts


def _data(run: wiring.Run, described: Mapping[str, Any] | None) -> Iterator[str]:
    data = run.config.data
    if data.source == "phantom":
        yield "**Generated phantoms: no patient's data.** All below is of these.\n"
    if described is None:
        yield "Not in the checkpoint: it was trained by an older version."
        return
    span, view = training_data.span, described["field_of_view_mm"]
    structures = {name: n for name, n in described["structures"].items() if n}
    slices = span(described["slices_a_patient"], ".0f")
    yield from _facts(
        {
            "data set": f"site {described['site']}, cohort {data.cohort}",
            "part of the body": described["body_part"] or "not known",
            "patients": f"{described['patients']}, {described['with_dose']} with a "
            "dose",
            "slices": f"{described['slices']}, {slices} per patient",
            "contoured in": ", ".join(f"{n}: {k}" for n, k in structures.items())
            or "no patient",
            "pixels": f"{span(described['spacing_mm'], '.3g')} mm; "
            f"matrix {', '.join(described['matrix_sizes'])} (y, x)",
            "distance of slices": f"{span(described['slice_spacing_mm'], '.3g')} mm",
            "field of view": f"{span(view['y'], '.0f')} x {span(view['x'], '.0f')} mm "
            "(y, x)",
            "length": f"{span(described['length_mm'], '.0f')} mm",
        }
    )
    values = described["ct_hu"]
    yield (
        f"\nCT values in HU from {values['slices']} slices of {values['patients']} "
        "patients: the lowest, median and highest of each percentile over patients. "
        f"The body is above {body_region.DATA_HU:g} HU.\n"
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


def _training(run: wiring.Run, item: Mapping[str, Any]) -> Iterator[str]:
    yield from _facts(training_facts.of(run, item["step"]))


def _limits(
    run: wiring.Run,
    described: Mapping[str, Any] | None,
    evaluations: Mapping[str, Any],
) -> Iterator[str]:
    data, role = run.config.data, run.role
    if data.source == "phantom":
        yield "- Trained on phantoms: its predictions for patients mean nothing."
    yield (
        "- It was trained on CTs like those above. For others (pixels, distance of "
        "slices, field of view, CT values, part of the body) `predict` warns, and "
        "still predicts."
    )
    if described is not None and described["body_part"] is None:
        yield "- The part of the body is not recorded, since the site is a site file."
    if "contours" in role.tasks:
        yield f"- It contours {_plain(', '.join(data.structures))}, and nothing else."
    if "dose" in role.tasks:
        target = "" if role.input.shows_targets else " or the position of the target"
        yield (
            "- It predicts doses as planned in its data set, for "
            f"{data.prescription_gy:g} Gy. It does not know the technique{target}."
        )
    if role.input.masks:
        yield f"- Its input has {role.input.in_words}; it is only as good as these."
    sees = "predicts" if run.config.data.neighbours else "sees"
    yield f"- It {sees} each slice alone: neighbouring slices may not be consistent."
    yield from _result_limits(run, evaluations)
    yield (
        "- Not tested: hospitals, scanners and protocols other than those of the data "
        "set; implants, contrast agents, children, unusual anatomy; the same training "
        "with another seed."
    )


def _result_limits(run: wiring.Run, evaluations: Mapping[str, Any]) -> Iterator[str]:
    """Limits of the results."""
    without = [split for split in records.SPLITS[1:] if split not in evaluations]
    if without:
        yield f"- Not evaluated: {' and '.join(without)} split."
    if "train" in evaluations:
        yield "- Results of the train split are on patients that it was trained on."
    if "contours" in run.role.tasks:
        yield (
            "- A missed structure counts with Dice 0 and the diagonal of the image as "
            "its distance (a penalty, not a measurement); so does a predicted "
            "structure that the reference leaves empty. Patients without a contour of "
            "a structure do not count for it."
        )
    if "dose" in run.role.tasks and run.config.evaluate.apply_possible_dose_mask:
        yield (
            "- If the data set says which voxels can have a dose, the others were set "
            "to 0 before the dose was scored. `predict` does not know that mask."
        )
    if run.config.data.source != "phantom":
        yield "- All patients, also those of its tests, are from one data set."


def _use(run: wiring.Run) -> Iterator[str]:
    yield from use(run.role, " ".join(str(run.workdir).splitlines()))
    yield (
        "If this folder was moved, give its new path, or that of one "
        "`checkpoints/<step>`, which is enough on its own."
    )
    if run.config.evaluate.also:
        yield (
            "\nThe command averages the networks that `evaluate.also` in `config.json` "
            "names. For this network alone, give its `checkpoints/<step>`."
        )


def use(role: roles.Role, network: str) -> Iterator[str]:
    """How to predict with a network of `role`, a path or a name."""
    needs_rtstruct = role.input.needs_rtstruct
    contours = ", and the RTSTRUCT that was drawn on it" if needs_rtstruct else ""
    yield "```"
    yield (
        f"python -m mtl_jax.predict --checkpoint={shlex.quote(network)} "
        f"{'--rtstruct=auto ' if needs_rtstruct else ''}CT_DIR"
    )
    yield "```\n"
    outputs = {"contours": "contours (RTSTRUCT)", "dose": "dose (RTDOSE)"}
    yield (
        f"`CT_DIR` is a folder with a CT series in DICOM{contours}. The output is "
        f"{' and '.join(outputs[task] for task in role.tasks)}, marked as "
        "AI-generated and not for clinical use."
    )


def _identity(item: Mapping[str, Any]) -> Iterator[str]:
    score, network = item.get("score"), item.get(checkpoint.CONTOUR_NETWORK)
    measure = item.get("measure", checkpoint.LOSSES)
    yield from _facts(
        {
            "step": item["step"],
            "digest": f"{item['digest']} (SHA-256 of all its arrays)",
            "data": f"{item['data_fingerprint']} (fingerprint)",
        }
        | ({} if score is None else {"validation score": f"{score:.6g}, {measure}"})
        | ({"contour network": network["weights_digest"]} if network else {})
    )


# The JSON summary of an evaluated split.
Summary = Mapping[str, Any]


def _results(evaluation: Summary, site: sites.Site) -> str:
    """The results of one split: a caption and a table."""
    settings, steps = evaluation["settings"], []
    if "mean_dice" in evaluation:
        threshold = settings["contour_threshold"]
        steps.append("contours where a structure is the most probable")
        if threshold is not None:  # of a sigmoid head
            steps[-1] = f"contours at a threshold of {threshold:g}"
        if settings["largest_component"]:
            steps.append("their largest component only")
    if "dose_error" in evaluation["metrics"] and settings["apply_possible_dose_mask"]:
        steps.append("dose set to 0 where none is possible, if that is known")
    if settings["mirror"]:
        steps.append("averaged with the mirror image")
    if also := settings.get("also"):
        steps.append(
            f"the mean of {1 + len(also)} networks, the others of the checkpoints "
            f"{', '.join(also)}"
        )
    caption = (
        "Mean ± standard deviation over patients; for doses, of the absolute error, "
        "except for the pass rates of gamma. Yardsticks do not use the image.",
        f"Scored as configured: {', '.join(steps)}." if steps else "",
        *_variants(evaluation),
        f"All metrics by patient: evaluation/{evaluation['split']}.csv.",
    )
    title = f"{evaluation['split']} split, n = {evaluation['patients']}"
    return render.markdown(_table(evaluation, site, title, caption))


def _table(
    evaluation: Summary, site: sites.Site, title: str, caption: tuple[str, ...]
) -> render.Table:
    """A row for each score and metric: network, n, yardsticks."""
    yardstick_summaries = evaluation["yardsticks"]
    labels = (yardsticks.TABLE[name].label for name in yardstick_summaries)
    columns = ("", "network", "n", *labels)
    rows = [
        (
            render.Cell(label),
            _score(evaluation, key),
            render.Cell(_n_of_score(evaluation, key), form="d"),
            *(_score(yardstick, key) for yardstick in yardstick_summaries.values()),
        )
        for key, label in summary.SCORES
        if key in evaluation
    ]
    for metric, label in summary.displayed(site).items():
        for name, metric_summary in evaluation["metrics"].items():
            first, _, structure = name.partition("/")
            if first == metric:
                of_yardsticks = [
                    yardstick["metrics"].get(name)
                    for yardstick in yardstick_summaries.values()
                ]
                rows.append(
                    (
                        render.Cell(f"{structure} {label}".strip()),
                        _mean(metric_summary),
                        render.Cell(metric_summary["n"], form="d"),
                        *map(_mean, of_yardsticks),
                    )
                )
    return render.Table(
        evaluation["split"],
        title,
        caption,
        tuple(render.Column(name) for name in columns),
        tuple(rows),
    )


# Scores that are the mean of one metric over patients; others are means of means.
_MEANS = {"openkbp_dose_score": "dose_error", "dose_error": "dose_error"}


def _score(evaluation: Summary, key: str) -> render.Cell:
    if key not in evaluation:
        return render.Cell("")
    if isinstance(evaluation[key], int):
        return render.Cell(evaluation[key], form="d")
    mean = evaluation["metrics"].get(_MEANS.get(key, ""), {})
    return render.Cell(evaluation[key], mean.get("std"))


def _n_of_score(evaluation: Summary, key: str) -> int:
    mean = evaluation["metrics"].get(_MEANS.get(key, ""))
    return evaluation["patients"] if mean is None else mean["n"]


def _mean(metric: Summary | None) -> render.Cell:
    if metric is None:
        return render.Cell("")
    return render.Cell(metric["mean"], metric["std"])


def _variants(evaluation: Summary) -> Iterator[str]:
    """The scores with one setting changed."""
    for name, variant in evaluation["variants"].items():
        scores = [
            f"{label} {_score(variant, key).text}"
            for key, label in summary.SCORES
            if key in variant
        ]
        if scores:
            yield f"Scored {name.replace('_', ' ')}: {'; '.join(scores)}."
