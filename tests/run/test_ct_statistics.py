"""Fitted CT statistics: once for a data set, and again for other windows."""

import json

import numpy as np

from mtl_jax.pipeline import preprocess
from mtl_jax.run import command as run_command
from mtl_jax.run import ct_statistics, wiring
from tests import commands


def test_they_are_fitted_once_for_a_data_set(command, tmp_path, monkeypatch):
    fitted = []
    fit = preprocess.fit_statistics

    def count(split, **rules):
        fitted.append(rules["ct_window"])
        return fit(split, **rules)

    monkeypatch.setattr(preprocess, "fit_statistics", count)

    def statistics(name, window):
        changes = {"data__ct_window": window, "data__statistics": "fitted"}
        changes |= {"data__ct_values": "hu"}
        config = wiring.check(commands.configure(**changes))
        data = run_command.prepare_in(
            config, data_dir=command.data_dir, manual_dir=None
        )
        found = wiring.Run(config, data, tmp_path / name).statistics
        kept = json.loads((tmp_path / name / "statistics.json").read_text())
        assert kept == found
        split = data.splits["train"]
        values = np.concatenate([example["ct"].ravel() for example in split.source])
        values = np.clip(values.astype(float) - split.site.ct_offset_hu, *window)
        np.testing.assert_allclose(
            (found["ct_mean"], found["ct_std"]),
            (values.mean(), values.std()),
            rtol=1e-6,
        )
        return found

    # No other test has these windows.
    one = statistics("one", (-900.0, 1234.0))
    assert statistics("other", (-900.0, 1234.0)) == one
    assert fitted == [(-900.0, 1234.0)]
    assert statistics("third", (-900.0, 4321.0)) != one
    assert len(fitted) == 2


def test_they_are_written_where_a_data_set_may_be_read_only(
    command, tmp_path, monkeypatch
):
    config = wiring.check(commands.configure(data__ct_window=(-901.0, 1234.0)))
    data = run_command.prepare_in(config, data_dir=command.data_dir, manual_dir=None)
    monkeypatch.setattr(ct_statistics.os, "access", lambda *_: False)
    before = sorted(data.path.rglob("*"))
    assert wiring.Run(config, data, tmp_path).statistics["ct_std"] > 0
    assert sorted(data.path.rglob("*")) == before
