"""The result as Markdown and as a plot, with suggestions for programs too large."""

from pathlib import Path
from typing import Any

import ml_collections

GIB = 2**30
# Memory is not quite proportional to the batch, so suggestions leave a margin.
MARGIN = 1.1


def table(result: dict[str, Any]) -> str:
    """Tables of programs and collectives, the search, and programs that do not fit."""
    cores, count = result["cores"], result["chips"]
    hardware = f"{count} chip{'s' * (count > 1)}"
    if cores > 1:
        hardware += f" of {cores} devices each"
    lines = [
        f"`{result['command']}`: {hardware}, {gib(result['chip_bytes'])} GiB of HBM a "
        f"chip, of which a program can use {gib(cores * result['available'])}; "
        f"jax {result['versions'].get('jax')}, libtpu "
        f"{result['versions'].get('libtpu')}. All figures are the compiler's, nothing "
        "was run. Memory, operations and bytes are per chip; bytes are those of HBM, "
        "with padding. Images per second are an upper bound, from peak rates.",
        "",
        "| program | batch | GiB: arguments | temporaries | code | sum | Gop a step "
        "| GB a step | of it padding | million cycles | estimate: images/s a chip "
        "| bound by | compiled in |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    lines += [program_line(row, result) for row in result["programs"]]
    for row in result["programs"]:
        if row["fits"]:
            lines += ["", *bound_lines(row), "", *part_lines(row)]
            lines += ["", *pass_lines(row)]
    lines += ["", *collective_lines(result)]
    if largest := result.get("largest"):
        lines += ["", largest_line(largest)]
    for row in result["programs"]:
        if not row["fits"]:
            lines += ["", *failure_lines(row, result)]
    return "\n".join(lines) + "\n"


def gib(size: float) -> str:
    """`size` bytes in GiB, with two decimals."""
    return f"{size / GIB:.2f}"


def program_line(row: dict[str, Any], result: dict[str, Any]) -> str:
    """The line of one program."""
    cores = result["cores"]
    name = f"| {row['backend']}, {row['part']} | {row['batch_size']} "
    if not row["fits"]:
        return name + "| does not fit" + " |" * 11
    memory = {key: gib(cores * size) for key, size in row["memory"].items()}
    estimate, found = row["roofline"], row["summary"]
    padded = found["padded_bytes"]
    waste = 1 - found["memory_bytes"] / padded if padded else 0.0
    images = estimate["images_per_second_per_chip"]
    return name + (
        f"| {memory['arguments']} | {memory['temporaries']} | {memory['code']} "
        f"| {memory['sum']} | {cores * row['operations'] / 1e9:.0f} "
        f"| {cores * padded / 1e9:.1f} | {waste:.0%} | {million(found['cycles'])} "
        f"| {'-' if images is None else f'{images:.0f}'} | {estimate['bound'] or '-'} "
        f"| {row['seconds']:.0f} s |"
    )


def million(count: int | None) -> str:
    """A count in millions; "-" without one."""
    return "-" if count is None else f"{count / 1e6:.2f}"


def bound_lines(row: dict[str, Any]) -> list[str]:
    """The least time of a step by each bound, and how many passes it has."""
    bounds = row["roofline"]["seconds"]
    times = [f"{name} {1e3 * value:.2f} ms" for name, value in bounds.items()]
    found = row["summary"]
    float32 = found["float32_operations"] / (found["operations"] or 1)
    return [
        f"**{title(row)}**: {found['passes']} passes, {float32:.0%} of the operations "
        f"of products with a float32 operand. Least time by {', '.join(times)}."
    ]


def title(row: dict[str, Any]) -> str:
    """The name of a program."""
    return f"{row['backend']}, {row['part']}, batch {row['batch_size']}"


def share_of(row: dict[str, Any]) -> str:
    """What the parts of a program have a share of."""
    if row["summary"]["cycles"]:
        return "cycles"
    return "the kernels' least time" if row["summary"]["seconds_by_pass"] else "bytes"


def part_lines(row: dict[str, Any]) -> list[str]:
    """The parts of the network, the largest share first."""
    lines = [
        f"| part | share of {share_of(row)} | of it backward | passes | Gop | GB "
        "| of it padding | million cycles |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return lines + [
        f"| {each['part']} | {each['share']:.1%} | {each['backward']:.0%} "
        f"| {each['passes']} | {each['operations'] / 1e9:.1f} "
        f"| {each['padded_bytes'] / 1e9:.2f} | {each['waste']:.0%} "
        f"| {million(each['cycles'])} |"
        for each in row["summary"]["by_part"]
    ]


def pass_lines(row: dict[str, Any]) -> list[str]:
    """The largest passes without a product: what could be fused or left out."""
    lines = [
        "| largest passes without a product | kind | MB | of it padding "
        "| million cycles |",
        "|---|---|---:|---:|---:|",
    ]
    for each in row["summary"]["largest_without_product"]:
        padded = each["padded_bytes"]
        waste = 1 - each["memory_bytes"] / padded if padded else 0.0
        lines.append(
            f"| `{each['scope'] or each['name']}` | {each['kind']} "
            f"| {padded / 1e6:.1f} | {waste:.0%} | {million(each['cycles'])} |"
        )
    return lines


def draw_parts(result: dict[str, Any], path: Path) -> None:
    """Draw the share of each part, forward and backward, of each program that fits."""
    from matplotlib import figure  # the rest of the command does not need it

    rows = [row for row in result["programs"] if row["fits"]]
    if not rows:
        return
    drawing = figure.Figure(figsize=(7 * len(rows), 7), layout="constrained")
    for axes, row in zip(
        drawing.subplots(1, len(rows), squeeze=False)[0], rows, strict=True
    ):
        found = row["summary"]["by_part"][::-1]
        names = [each["part"] for each in found]
        backward = [100 * each["share"] * each["backward"] for each in found]
        forward = [
            100 * each["share"] - b for each, b in zip(found, backward, strict=True)
        ]
        axes.barh(names, forward, label="forward, and what is neither")
        axes.barh(names, backward, left=forward, label="backward")
        axes.set_xlabel(f"% of {share_of(row)} (the compiler's figure)")
        axes.set_title(f"{result['topology']}: {title(row)}")
        axes.legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=120)


def collective_lines(result: dict[str, Any]) -> list[str]:
    """Counts and bytes per step, and the count if each sum were a collective."""
    lines = [
        "| collectives | count | with gradients of kernels | MB a device |",
        "|---|---|---:|---:|",
    ]
    for row in result["programs"]:
        if row["fits"]:
            kinds = row["collectives"]
            counts = [f"{each['count']} {kind}" for kind, each in kinds.items()]
            size = sum(each["bytes"] for each in kinds.values()) / 1e6
            lines.append(
                f"| {row['backend']}, {row['part']} | {', '.join(counts) or 'none'} "
                f"| {row['with_kernels']} | {size:.3f} |"
            )
    layers = result["batch_norms"]
    lines += [
        "",
        f"The network has {layers} batch normalisations. One collective for each "
        f"normalisation and direction, one for the losses and one for the gradients "
        f"would be {2 * layers + 2} in training.",
    ]
    return lines


def largest_line(largest: dict[str, Any]) -> str:
    """The result of the search for the largest batch."""
    above = "no larger batch was tried"
    if largest["too_large"]:
        above = f"{largest['too_large']} does not"
    below = f"{largest['fits']} fits" if largest["fits"] else "no tried batch fits"
    return (
        f"Largest batch of {largest['backend']}, {largest['part']}: {below}, "
        f"{above} ({largest['compilations']} compilations)."
    )


def failure_lines(row: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """The memory that a program needs and has, and the suggestions."""
    cores = result["cores"]
    if row["asked"] is None:
        reason = row["said"]
    else:
        needed, available = cores * row["asked"], cores * result["available"]
        reason = f"needs {gib(needed)} of {gib(available)} GiB a chip"
    lines = [f"{title(row)}: does not fit: {reason}. What may help:"]
    return lines + [f"- {line}" for line in row["suggestions"]]


def suggestions(
    config: ml_collections.ConfigDict, row: dict[str, Any], result: dict[str, Any]
) -> list[str]:
    """Changes of the command; those that do not change the result come first."""
    devices, available = result["cores"] * result["chips"], result["available"]
    excess = MARGIN * (row["asked"] or 2 * available) / available
    training, lines = row["part"] == "train", []
    if training and not config.model.remat:
        lines.append(
            "--config.model.remat=True: the same result, with activations computed "
            "twice"
        )
    lines.append("a --topology with more chips: the same result")
    if config.model.dtype == "float32":
        lines.append("--config.model.dtype=bfloat16: half the bytes of activations")
    if training and (parts := parts_that_fit(config, devices, excess)):
        lines.append(
            f"--config.train.accumulate={parts}: the same batch in {parts} parts; "
            "batch normalisation and Dice then see one part at a time"
        )
    unit = devices * (config.train.accumulate if training else 1)
    if size := halved(row["batch_size"], excess) // unit * unit:
        key, effect = ("train", "") if training else ("evaluate", "; the same result")
        lines.append(f"--config.{key}.batch_size={size}: a smaller batch{effect}")
    return lines


def halved(size: int, excess: float) -> int:
    """`size`, halved until it is at least `excess` times smaller.

    A size just below the limit is likely to fail, because part of the memory does not
    shrink with the batch.
    """
    limit = size / excess
    while size > limit:
        size //= 2
    return size


def parts_that_fit(
    config: ml_collections.ConfigDict, devices: int, excess: float
) -> int | None:
    """The smallest train.accumulate that makes a batch `excess` times smaller."""
    now, batch_size = config.train.accumulate, config.train.batch_size
    parts = range(now + 1, batch_size // devices + 1)
    fitting = (
        n for n in parts if batch_size % (n * devices) == 0 and n >= now * excess
    )
    return next(fitting, None)
