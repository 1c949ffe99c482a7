"""Further runs whose predictions are averaged with those of a run (not in the paper).

Input: a Run whose configuration names their working directories. Output: these runs, on
the same data; what keeps the predictions of two networks from being averaged.
"""

from pathlib import Path

import ml_collections

from mtl_jax.core import config as configs
from mtl_jax.core import errors, roles, sites
from mtl_jax.run import input_contours, wiring, workdir

# The keys that networks must share; all else may differ.
SHARED = ("role", "data.structures", "data.prescription_gy", "model.contour_head")


def differences(
    config: ml_collections.ConfigDict,
    site: sites.Site,
    other: ml_collections.ConfigDict,
    other_site: sites.Site,
) -> list[str]:
    """What keeps `other`'s predictions from being averaged with `config`'s, in words.

    Each network normalises and resamples for itself, and may be of any size.
    """
    mine, theirs = configs.flatten(config), configs.flatten(other)
    keys = [key for key in SHARED if mine[key] != theirs[key]]
    if "contours" not in roles.get(config.role).tasks:
        keys = [key for key in keys if key != "model.contour_head"]
    found = [f"its {key} is {theirs[key]!r}, not {mine[key]!r}" for key in keys]
    if site.name != other_site.name:
        found.append(f"its site is {other_site.name}, not {site.name}")
    elif site != other_site:
        found.append(f"its site {site.name} has another definition")
    return found


def runs(run: wiring.Run) -> tuple[wiring.Run, ...]:
    """The finished runs that `evaluate.also` of `run` names, each once, without `run`.

    They are evaluated with the settings of `run`, each at the checkpoint that its own
    configuration chooses.

    Raises:
        WorkdirError: one is missing, not finished, or cannot be averaged with `run`.
    """
    folders: dict[Path, Path] = {}
    for name in run.config.evaluate.also:
        folder = Path(name).expanduser()
        folders.setdefault(folder.resolve(), folder)
    folders.pop(run.workdir.resolve(), None)
    return tuple(_open(folder, run) for folder in folders.values())


def _open(folder: Path, run: wiring.Run) -> wiring.Run:
    if not (folder / "config.json").exists():
        raise errors.WorkdirError(
            f"evaluate.also names {folder}, which holds no run: train it first, or "
            "remove it there"
        )
    config = configs.unflatten(workdir.read_json(folder / "config.json"))
    which = config.evaluate.checkpoint
    config.evaluate = ml_collections.ConfigDict(run.config.evaluate.to_dict())
    config.evaluate.checkpoint, config.evaluate.also = which, ()
    config = configs.check(config)
    reasons = differences(run.config, run.site, config, sites.get(config.site))
    fingerprint = workdir.read_json(folder / "provenance.json")["data_fingerprint"]
    if fingerprint != run.data.fingerprint:
        reasons.append(f"it was trained on other data (fingerprint {fingerprint[:12]})")
    if not reasons:
        contours = input_contours.prepare(config, run.data, folder)
        other = wiring.Run(config, run.data, folder, contours)
        if other.finished:
            return other
        reasons = ["it is not finished"]
    raise errors.WorkdirError(
        f"evaluate.also names {folder}, which cannot be averaged with this run: "
        f"{'; '.join(reasons)}"
    )
