"""Mean and deviation that normalise the CT of a run.

Input: a configuration and a data set. Output: the values, kept in the working
directory. Fitted ones are also kept beside the data, for all runs on them: to fit them,
every training slice is read.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections

from mtl_jax.core import files, locks
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import preprocess
from mtl_jax.run import workdir as workdirs

FOLDER = "ct_statistics"


def of(
    config: ml_collections.ConfigDict,
    data: prepared.Prepared,
    training_split: Callable[[], prepared.Split],
    workdir: Path,
) -> dict[str, Any]:
    """`statistics.json` of `workdir`, written if it is missing."""
    path, settings = workdir / "statistics.json", config.data
    if path.exists():
        return workdirs.read_json(path)
    mean, std, origin = settings.ct_mean, settings.ct_std, "given by the configuration"
    if settings.statistics == "fitted":
        mean, std = _fitted(settings, data, training_split())
        origin = f"fitted on the training split of {data.fingerprint}"
    statistics = {
        "ct_mean": mean,
        "ct_std": std,
        "ct_values": settings.ct_values,
        "ct_window": list(settings.ct_window),
        "origin": origin,
    }
    workdirs.write_json(statistics, path)
    return statistics


def _fitted(
    settings: ml_collections.ConfigDict, data: prepared.Prepared, split: prepared.Split
) -> tuple[float, float]:
    """Mean and deviation of the training split, from an earlier run if there is one."""
    what = {
        "data": data.fingerprint,
        "ct_offset_hu": split.site.ct_offset_hu,
        "ct_values": settings.ct_values,
        "ct_window": list(settings.ct_window),
    }

    def fit() -> tuple[float, float]:
        return preprocess.fit_statistics(
            split,
            site=split.site,
            ct_values=settings.ct_values,
            ct_window=tuple(settings.ct_window),
        )

    folder = data.path / FOLDER
    path = folder / f"{files.json_digest(what)[:16]}.json"
    if not path.exists() and not os.access(data.path, os.W_OK):
        return fit()
    with locks.held(folder, "give another --data_dir", wait=True):
        if not path.exists():
            workdirs.write_json(dict(zip(("mean", "std"), fit(), strict=True)), path)
    kept = workdirs.read_json(path)
    return kept["mean"], kept["std"]
