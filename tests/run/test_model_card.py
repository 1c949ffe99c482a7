"""The model card of tiny runs: its figures, before results, and what it escapes."""

import json
import re
import shutil

import pytest

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.datasets import prepared
from mtl_jax.run import model_card, wiring, workdir
from tests import commands

STEP = str(commands.STUDY["train__steps"])
SECTIONS = [
    "What it is",
    "Network",
    "Training data",
    "Training",
    "Results",
    "Limits",
    "How to use it",
    "Which checkpoint",
]


@pytest.fixture(scope="module")
def data(command, study):
    """The data set that the study was made on."""
    del study  # it has built it
    (path,) = command.data_dir.glob("openkbp/phantom/*")
    return prepared.open_directory(path)


@pytest.fixture
def copied(data, study, tmp_path):
    """`copied(role)`: a run in a copy of its working directory, to change."""

    def copy(role="multi"):
        home = tmp_path / role
        shutil.copytree(study[0] / role, home)
        config = configs.unflatten(workdir.read_json(home / "config.json"))
        return wiring.Run(configs.check(config), data, home)

    return copy


def sections(card):
    return re.findall(r"^## (.*)$", card, flags=re.M)


def table_rows(card):
    """Cells by the first one, of the table of results."""
    _, _, results = card.partition("## Results")
    lines = results.partition("## Limits")[0].splitlines()
    rows = [line[2:-2].split(" | ") for line in lines if line.startswith("|")]
    return {row[0]: [cell.strip() for cell in row[1:]] for row in rows}


@pytest.mark.parametrize("role", ["contour", "seq_human", "seq_auto", "multi"])
def test_each_run_of_a_study_has_a_card(study, role):
    home = study[0] / role
    card = (home / "model_card.md").read_text()
    assert sections(card) == SECTIONS
    item = workdir.read_json(home / f"checkpoints/{STEP}/run/metadata")
    for words in (
        f"role `{role}`",
        "Not a medical device, not for clinical use",
        item["digest"],
        item["data_fingerprint"],
        f"python -m mtl_jax.predict --checkpoint={home} ",
        "no patient's data",  # generated ones
        "patients: 2, 2 with a dose",
        f"steps: {STEP} of {STEP}",
    ):
        assert words in card, words
    assert ("--rtstruct=auto" in card) == (role == "seq_human")
    assert ("RTSTRUCT)" in card) == (role in ("contour", "multi"))
    assert ("RTDOSE)" in card) == (role != "contour")
    assert not re.search(r"\bpt_\d", card)  # nobody is named
    assert not re.search(r"\.tmp$", "\n".join(path.name for path in home.iterdir()))
    report = (study[0] / "study/test/report.html").read_text()
    assert f"{role}/model_card.md" in report


def test_its_figures_are_those_of_the_evaluation(study):
    card = (study[0] / "multi/model_card.md").read_text()
    found = workdir.read_json(study[0] / "multi/evaluation/test.json")
    rows = table_rows(card)
    beside = list(found["yardsticks"].values())
    assert len(rows[""]) == 2 + len(beside)
    assert rows["dose score, Gy"][:2] == [f"{found['openkbp_dose_score']:.3f}", "1"]
    assert rows["mean Dice"][0] == f"{found['mean_dice']:.3f}"
    assert rows["structures missed"][0] == str(found["missed"])
    checked = 0
    for name, metric in found["metrics"].items():
        kind, _, structure = name.partition("/")
        label = {
            "dice": "Dice",
            "hd95": "HD95, mm",
            "openkbp:D_mean": "D_mean, error in Gy",
            "openkbp:D_0.1cc": "D_0.1cc, error in Gy",
        }.get(kind)
        if label and f"{structure} {label}" in rows:
            mine, n, *theirs = rows[f"{structure} {label}"]
            assert (mine, n) == (f"{metric['mean']:.3f}", str(metric["n"]))
            assert theirs == [
                f"{one['metrics'][name]['mean']:.3f}" if name in one["metrics"] else ""
                for one in beside
            ]
            checked += 1
    assert checked >= 8
    assert f"### test split, n = {found['patients']}\n" in card
    masked = found["variants"]["without_possible_dose_mask"]["openkbp_dose_score"]
    assert f"without possible dose mask: dose score, Gy {masked:.3f}" in card


def test_spreads_and_sizes_are_shown(copied):
    run = copied()
    path = run.workdir / "evaluation/test.json"
    found = workdir.read_json(path)
    found["metrics"]["dice/Brainstem"] = {"mean": 0.5, "std": 0.25, "n": 4}
    found["metrics"]["dose_error"]["std"] = 1.5
    workdir.write_json(found, path)
    rows = table_rows(model_card.text(run))
    assert rows["Brainstem Dice"][:2] == ["0.500 ± 0.250", "4"]
    assert rows["dose score, Gy"][0] == f"{found['openkbp_dose_score']:.3f} ± 1.500"
    overview = run.abstract_state().params
    count = sum(leaf.size for leaf in _leaves(overview))
    assert f"- parameters: {count:,}\n" in model_card.text(run)


def _leaves(tree):
    if not hasattr(tree, "items"):
        return [tree]
    return [leaf for part in tree.values() for leaf in _leaves(part)]


def test_before_an_evaluation_it_is_whole_and_says_so(copied):
    run = copied()
    evaluated = model_card.text(run)
    shutil.rmtree(run.workdir / "evaluation")
    path = model_card.write(run)
    card = path.read_text()
    assert path == run.workdir / "model_card.md"
    assert sections(card) == SECTIONS
    assert "Not evaluated yet." in card
    assert "- Not evaluated: validation and test split." in card
    assert not table_rows(card)
    before, after = (
        card.partition("## Results")[0],
        evaluated.partition("## Results")[0],
    )
    assert before == after


def test_results_of_another_checkpoint_are_not_shown(copied):
    run = copied()
    path = run.workdir / "evaluation/test.json"
    workdir.write_json(workdir.read_json(path) | {"checkpoint": "of before"}, path)
    assert "Not evaluated yet." in model_card.text(run)


def test_a_card_that_cannot_be_written_leaves_the_one_before(copied):
    run = copied()
    before = (run.workdir / "model_card.md").read_bytes()
    shutil.rmtree(run.workdir / "checkpoints")
    with pytest.raises(errors.CheckpointError):
        model_card.write(run)
    assert (run.workdir / "model_card.md").read_bytes() == before
    assert not list(run.workdir.glob("*.tmp"))


HOSTILE = "a|b<script>[x](y)`c`*d*\n# e_"


def test_what_comes_from_data_is_escaped(copied):
    run = copied()
    path = run.workdir / f"checkpoints/{STEP}/run/metadata"
    item = json.loads(path.read_text())
    del item["description_digest"]
    about = item["training_data"]
    about["structures"][HOSTILE] = 1
    about["site"] = about["body_part"] = HOSTILE
    about["matrix_sizes"] = {HOSTILE: 1}
    path.write_text(json.dumps(item))
    evaluation = run.workdir / "evaluation/test.json"
    found = workdir.read_json(evaluation)
    found["metrics"][f"dice/{HOSTILE}"] = {"mean": 0.5, "std": None, "n": 1}
    workdir.write_json(found, evaluation)
    provenance = run.workdir / "provenance.json"
    history = workdir.read_json(provenance)
    history["starts"][0]["devices"] = HOSTILE
    history["starts"][0]["pretrained"] = "encoder from of_doe/w.pth, SHA-256 12ab"
    workdir.write_json(history, provenance)
    card = model_card.text(run)
    shown = r"a\|b&lt;script>\[x\](y)\`c\`\*d\* # e\_"
    assert card.count(shown) == 6
    assert "<script" not in card.replace(shown, "")
    assert "of_doe" not in card
    assert "a file of weights, SHA-256 12ab" in card
    assert sections(card) == SECTIONS


def test_every_checkpoint_says_what_it_was_trained_on(copied):
    run = copied()
    kept = run.workdir / "training_data.json"
    about = workdir.read_json(kept)
    for path in run.workdir.glob("checkpoints/*/run/metadata"):
        assert json.loads(path.read_text())["training_data"] == about
    # A working directory of an older version has no such file: it gets the same.
    before = run.checkpoint_item
    kept.unlink()
    assert run.checkpoint_item == before
    assert workdir.read_json(kept) == about


def test_a_checkpoint_of_an_older_version_has_a_card_too(copied):
    run = copied()
    path = run.workdir / f"checkpoints/{STEP}/run/metadata"
    item = json.loads(path.read_text())
    del item["training_data"], item["description_digest"]
    path.write_text(json.dumps(item))
    card = model_card.text(run)
    assert sections(card) == SECTIONS
    assert "it was trained by an older version" in card
