"""The benchmark of gamma runs and prints its table; its times are not tested."""

from benchmarks import gamma_index, metrics
from mtl_jax.sources.phantom import head_and_neck


def test_a_short_run(monkeypatch, capsys):
    patient = head_and_neck.make_patient(0, 0)
    monkeypatch.setattr(metrics, "find_patient", lambda manual_dir: patient)
    monkeypatch.setattr("sys.argv", ["gamma_index", "--rounds=1"])
    whole = gamma_index.everywhere
    monkeypatch.setattr(gamma_index, "everywhere", lambda shape: whole((8, 9, 10)))
    gamma_index.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith(("| patient", "| every"))]
    assert len(rows) == 8
    assert all(" % / " in line for line in rows)
    assert rows[-1].startswith("| every voxel | 720 |")
