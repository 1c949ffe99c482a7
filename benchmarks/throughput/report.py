"""Writes the result of a run as `result.json`, `table.md` and `plot.png`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.throughput import cases, timings
from mtl_jax.core import files

Result = Mapping[str, Any]
NAMES = {cases.OURS: "ours (JAX)", cases.PYTORCH: "PyTorch"}
COLOURS = {cases.OURS: "#1f6fb4", cases.PYTORCH: "#e07b39"}


def write(result: Result, folder: Path) -> None:
    """Write the three files, each completely or not at all."""
    with files.whole(folder / "result.json") as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    with files.whole(folder / "table.md") as partial:
        partial.write_text(table(result))
    plot(result, folder / "plot.png")


def table(result: Result) -> str:
    """Markdown with the machine, the ratios and a table for each case."""
    measured = [e for e in result["cases"] if e["case"]["part"] != cases.PRODUCTS]
    parts = [
        "# Throughput",
        head(result),
        "## Times faster than PyTorch",
        "PyTorch's time divided by ours, each in its fastest mode: the median over the "
        "repeats (least - most). Above 1, ours is faster.",
        ratio_table(measured),
        "## Peak",
        "The fastest matrix product of either framework in this run.",
        peak_table(result["peaks"]),
    ]
    for entry in measured:
        parts += [f"## {entry['title']}", *case_notes(entry), case_table(entry, result)]
    return "\n\n".join(parts) + "\n"


def head(result: Result) -> str:
    """The command, the machine, the versions, and what was left out."""
    machine, settings = result["machine"], result["settings"]
    versions = [f"{name} {version}" for name, version in result["versions"].items()]
    devices = [f"{p}: {kind}" for p, kind in result["devices"].items()]
    lines = [
        f"`{result['command']}`, {result['time']}",
        f"{machine['processor']}, {machine['usable_cores']} of {machine['cores']} "
        f"cores, {settings['threads']} threads for each framework",
        *(f"{card}" for card in machine["graphics"]),
        "devices: " + ", ".join(devices),
        f"{machine['system']}, {machine['libc']}, Python {machine['python']}",
        ", ".join(versions),
        "environment: "
        + (", ".join(f"`{k}={v}`" for k, v in result["environment"].items()) or "none"),
    ]
    lines += [f"left out: {item}" for item in result["left_out"]]
    return "\n".join(f"- {line}" for line in lines)


def ratio_table(measured: Sequence[Result]) -> str:
    """A line for each case, a column for each arithmetic."""
    names = [*timings.ARITHMETICS, "fastest"]
    by_case = [(entry["title"], entry["ratios"]) for entry in measured]
    names = [name for name in names if any(name in ratios for _, ratios in by_case)]
    rows = []
    for title, ratios in by_case:
        cells = [title]
        for name in names:
            ratio = ratios.get(name)
            cells.append(
                f"**{ratio['median']:.2f}** ({ratio['least']:.2f} - "
                f"{ratio['most']:.2f}) {ratio['ours']} / {ratio['pytorch']}"
                if ratio
                else ""
            )
        rows.append(cells)
    return markdown(
        ["", *("fastest of all" if n == "fastest" else n for n in names)], rows
    )


def peak_table(peaks: Mapping[str, Any]) -> str:
    """A line for each arithmetic."""
    return markdown(
        ["", "GFLOP/s", "by"],
        [
            [name, f"{peak['rate'] / 1e9:,.0f}", NAMES[peak["framework"]]]
            for name, peak in peaks.items()
        ],
    )


def case_notes(entry: Result) -> list[str]:
    """Notes on all modes of a case."""
    count = entry["operations"]
    notes = []
    if count:
        notes.append(
            f"{count / 1e9:.3g} GFLOP an image, counted from the configuration."
        )
    if count and entry["warm"]:
        notes.append("Compiled programs may have been read from a cache.")
    return notes


def case_table(entry: Result, result: Result) -> str:
    """A line for each mode, in the order of the rows."""
    columns = [
        "", "", "ms a step", "least - most", "images/s", "compile, s",
        "first step, s", "memory, GB", "device, GB", "GFLOP/s", "of peak",
        "GFLOP by XLA",
    ]  # fmt: skip
    return markdown(columns, [case_row(row, entry, result) for row in entry["rows"]])


def case_row(row: Result, entry: Result, result: Result) -> list[str]:
    """The cells of one mode."""
    names = [NAMES[row["framework"]], row["mode"]]
    if not timings.has_turns(row):
        return [*names, f"failed: {row['failed']}", *[""] * 9]
    step = timings.spread(timings.seconds_per_step(row))
    image = timings.spread(timings.seconds_per_image(row))["median"]
    rate = entry["operations"] / image if entry["operations"] else None
    peak = result["peaks"].get(f"{entry['case']['platform']}/{row['arithmetic']}")
    return [
        *names,
        f"{1e3 * step['median']:.1f}",
        f"{1e3 * step['least']:.1f} - {1e3 * step['most']:.1f}",
        f"{1 / image:,.1f}",
        number(row["compile_seconds"], 1, 1),
        number(row["first_step_seconds"], 1, 1),
        number(row["peak_bytes"], 1e9, 2),
        number(row["device_peak_bytes"], 1e9, 2),
        number(rate, 1e9, 0),
        f"{100 * rate / peak['rate']:.0f} %" if rate and peak else "",
        number(row["compiler_operations"], 1e9, 2),
    ]


def number(value: float | None, unit: float, digits: int) -> str:
    """`value` in `unit`, or "" for None."""
    return "" if value is None else f"{value / unit:,.{digits}f}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(result: Result, path: Path) -> None:
    """Bars of images per second with their range; a panel for each case."""
    import matplotlib.figure

    measured = [
        (entry, [row for row in entry["rows"] if timings.has_turns(row)])
        for entry in result["cases"]
        if entry["case"]["part"] != cases.PRODUCTS
    ]
    measured = [(entry, rows) for entry, rows in measured if rows]
    heights = [1.0 + 0.28 * len(rows) for _, rows in measured] or [1.0]
    figure = matplotlib.figure.Figure(
        figsize=(8, sum(heights) + 0.4), layout="constrained"
    )
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    for position, (entry, rows) in enumerate(measured):
        draw_case(figure.add_subplot(grid[position, 0]), entry, rows)
    with files.whole(path) as partial:
        figure.savefig(partial, dpi=150, format="png")


def draw_case(axes: Any, entry: Result, rows: Sequence[Result]) -> None:
    """The panel of one case."""
    for position, row in enumerate(rows):
        seconds = timings.spread(timings.seconds_per_image(row))
        middle = 1 / seconds["median"]
        ends = [[middle - 1 / seconds["most"]], [1 / seconds["least"] - middle]]
        axes.barh(
            position, middle, xerr=ends, color=COLOURS[row["framework"]], height=0.7,
            error_kw={"ecolor": "#333333", "capsize": 2, "elinewidth": 1},
        )  # fmt: skip
        axes.annotate(
            f"{middle:,.1f}", (1, position), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=7,
        )  # fmt: skip
    labels = [f"{NAMES[row['framework']]}, {row['mode']}" for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("images/s", fontsize=7)
    axes.tick_params(axis="x", labelsize=7)
    axes.set_title(entry["title"], fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
