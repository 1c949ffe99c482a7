"""The notebooks: they run from the first cell to the last, and hold no outputs."""

import pathlib

import nbclient
import nbformat
import pytest

from mtl_jax.core import config as configs
from tests import commands
from tests.predict import checkpoints
from tests.run import test_main

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# For a moment on one device: the programs of test_main.
FLAT = configs.flatten(commands.configure(**test_main.SCHEDULE))
CHANGED = {key.replace("__", ".") for key in test_main.SCHEDULE}
TINY = {key: FLAT[key] for key in sorted({*commands.TINY, *CHANGED, "train.devices"})}
TINY["evaluate.splits"] = ("test",)


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def run(name, parameters, folder, monkeypatch):
    """What the cells of a notebook print, with `parameters` after its own."""
    notebook = read(name)
    (place,) = [
        number
        for number, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    ]
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(parameters))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(folder))
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=commands.environment())
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    pictures = sum("image/png" in out.get("data", {}) for out in outputs)
    texts = [out.text for out in outputs if out.get("name") == "stdout"]
    return "".join(texts), pictures


def test_train_and_look(tmp_path, monkeypatch):
    text, pictures = run("train_and_look", f"changes |= {TINY}", tmp_path, monkeypatch)
    assert "2 train, 1 validation, 1 test" in text
    assert "pt_4: dose error" in text and "Brainstem" in text
    assert pictures == 2


def test_predict_your_ct(tmp_path, monkeypatch):
    home = checkpoints.write(tmp_path / "network", "multi", "openkbp")
    text, pictures = run(
        "predict_your_ct", f"network = {str(home)!r}", tmp_path, monkeypatch
    )
    assert "<mtl_jax.Model multi of openkbp" in text and "highest dose" in text
    assert "patient: dose error" in text
    assert pictures == 1
    assert list(tmp_path.rglob("dose.nii.gz"))


def test_plug_in(tmp_path, monkeypatch):
    text, _ = run("plug_in", f"changes |= {TINY}", tmp_path, monkeypatch)
    assert "12 0." in text and "of it excess" in text
    assert "Brainstem: " in text and " cc" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path):
    notebook = read(path.stem)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert 'find_spec("mtl_jax") is None' in first.source  # then it is installed


def test_every_notebook_is_run_and_in_the_index():
    names = {path.stem for path in NOTEBOOKS}
    assert names == {name[5:] for name in globals() if name[5:] in names}
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for name in names:
        assert f"(notebooks/{name}.ipynb)" in index
