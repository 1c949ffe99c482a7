"""A result in Markdown, and what to change where something does not fit."""

from typing import Any

import ml_collections

GIB = 2**30
# The compiler's count is exact; a change of the batch is not quite in proportion.
MARGIN = 1.1


def table(result: dict[str, Any]) -> str:
    """Programs row by row, then the collectives, the search, and what does not fit."""
    cores, count = result["cores"], result["chips"]
    here = f"{count} chip{'s' * (count > 1)}"
    if cores > 1:
        here += f" of {cores} devices each"
    lines = [
        f"`{result['command']}`: {here}, {gib(result['chip_bytes'])} GiB of HBM a "
        f"chip, of which a program may use {gib(cores * result['available'])}; "
        f"jax {result['versions'].get('jax')}, libtpu "
        f"{result['versions'].get('libtpu')}. Memory, operations and bytes are those "
        "of a chip; images a second are an estimate from peaks, and an upper bound.",
        "",
        "| program | batch | GiB: arguments | temporaries | code | sum | Gop a step "
        "| GB a step | estimate: images/s a chip | bound by | compiled in |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    lines += [program_line(row, result) for row in result["programs"]]
    lines += ["", *collective_lines(result)]
    if found := result.get("largest"):
        lines += ["", largest_line(found)]
    for row in result["programs"]:
        if not row["fits"]:
            lines += ["", *failure_lines(row, result)]
    return "\n".join(lines) + "\n"


def gib(size: float) -> str:
    """Bytes in GiB, with two places."""
    return f"{size / GIB:.2f}"


def program_line(row: dict[str, Any], result: dict[str, Any]) -> str:
    """A row of the table."""
    cores = result["cores"]
    name = f"| {row['backend']}, {row['part']} | {row['batch_size']} "
    if not row["fits"]:
        return name + "| does not fit | | | | | | | | |"
    memory = {key: gib(cores * size) for key, size in row["memory"].items()}
    estimate = row["roofline"]
    return name + (
        f"| {memory['arguments']} | {memory['temporaries']} | {memory['code']} "
        f"| {memory['sum']} | {cores * row['operations'] / 1e9:.0f} "
        f"| {cores * row['bytes'] / 1e9:.1f} "
        f"| {estimate['images_per_second_per_chip']:.0f} | {estimate['bound']} "
        f"| {row['seconds']:.0f} s |"
    )


def collective_lines(result: dict[str, Any]) -> list[str]:
    """Counts and bytes a step, and beside training's what one for each sum would be."""
    lines = [
        "| collectives | count | with gradients of kernels | MB a device |",
        "|---|---|---:|---:|",
    ]
    for row in result["programs"]:
        if row["fits"]:
            found = row["collectives"]
            counts = [f"{each['count']} {kind}" for kind, each in found.items()]
            size = sum(each["bytes"] for each in found.values()) / 1e6
            lines.append(
                f"| {row['backend']}, {row['part']} | {', '.join(counts) or 'none'} "
                f"| {row['with_kernels']} | {size:.3f} |"
            )
    layers = result["batch_norms"]
    lines += [
        "",
        f"The network has {layers} batch normalisations. One sum for each of them and "
        f"direction, one of the losses and one of the gradients would be "
        f"{2 * layers + 2} in training.",
    ]
    return lines


def largest_line(found: dict[str, Any]) -> str:
    """What the search found."""
    above = "none larger was tried"
    if found["too_large"]:
        above = f"{found['too_large']} does not"
    below = f"{found['fits']} fits" if found["fits"] else "none that was tried fits"
    return (
        f"Largest batch of {found['backend']}, {found['part']}: {below}, "
        f"{above} ({found['compilations']} compilations)."
    )


def failure_lines(row: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """What does not fit, by how much, and what would help."""
    name, cores = f"{row['backend']}, {row['part']}", result["cores"]
    if row["asked"] is None:
        said = row["said"]
    else:
        asked, available = cores * row["asked"], cores * result["available"]
        said = f"{gib(asked)} of {gib(available)} GiB a chip"
    lines = [f"{name}, batch {row['batch_size']}: does not fit: {said}. What may help:"]
    return lines + [f"- {line}" for line in row["suggestions"]]


def suggestions(
    config: ml_collections.ConfigDict, row: dict[str, Any], result: dict[str, Any]
) -> list[str]:
    """Changes of the command, those that leave the result as it is first."""
    devices, available = result["cores"] * result["chips"], result["available"]
    excess = MARGIN * (row["asked"] or 2 * available) / available
    training, found = row["part"] == "train", []
    if training and not config.model.remat:
        found.append(
            "--config.model.remat=True: the same result, from activations that are "
            "computed twice"
        )
    found.append("a --topology with more chips: the same result")
    if config.model.dtype == "float32":
        found.append("--config.model.dtype=bfloat16: half the bytes of an activation")
    if training and (parts := parts_that_fit(config, devices, excess)):
        found.append(
            f"--config.train.accumulate={parts}: the same batch in {parts} parts; "
            "batch normalisation and Dice then see a part at a time"
        )
    unit = devices * (config.train.accumulate if training else 1)
    if size := halved(row["batch_size"], excess) // unit * unit:
        key, effect = ("train", "") if training else ("evaluate", "; the same result")
        found.append(f"--config.{key}.batch_size={size}: a smaller batch{effect}")
    return found


def halved(size: int, excess: float) -> int:
    """`size`, halved until it is `excess` times smaller.

    A size just below is likely to fail: what does not grow with the batch, and what the
    compiler can no longer put away, leave less room than the proportion says.
    """
    limit = size / excess
    while size > limit:
        size //= 2
    return size


def parts_that_fit(
    config: ml_collections.ConfigDict, devices: int, excess: float
) -> int | None:
    """The least train.accumulate by which a batch is `excess` times smaller."""
    now, batch_size = config.train.accumulate, config.train.batch_size
    parts = range(now + 1, batch_size // devices + 1)
    fitting = (
        n for n in parts if batch_size % (n * devices) == 0 and n >= now * excess
    )
    return next(fitting, None)
