"""An evaluation's summary as a table to read in a terminal."""

from typing import Any


def text(summary: dict[str, Any]) -> str:
    """Lines of `metric, network, mean-dose map`; means over patients, with n."""
    yardstick = summary["yardsticks"].get("mean_dose_map")
    head = ["metric", "network", "n"] + (["mean-dose map"] if yardstick else [])
    rows = [head]
    for name, label in (
        ("openkbp_dose_score", "dose score, Gy"),
        ("openkbp_dvh_score", "DVH score, Gy"),
        ("mean_dice", "mean Dice"),
    ):
        if name in summary:
            rows.append([label, f"{summary[name]:.3f}", str(summary["patients"])])
            if yardstick:
                value = yardstick.get(name)
                rows[-1].append("" if value is None else f"{value:.3f}")
    for name, metric in summary["metrics"].items():
        if name == "dose_error":
            continue
        unit = "" if name.startswith("dice/") else ", error in Gy"
        row = [f"{name}{unit}", f"{metric['mean']:.3f}", str(metric["n"])]
        if yardstick:
            other = yardstick["metrics"].get(name)
            row.append("" if other is None else f"{other['mean']:.3f}")
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    patients, at_step = summary["patients"], summary["step"]
    title = f"{summary['split']} split, {patients} patients, step {at_step}"
    return "\n".join([title, *lines])
