"""A run's network packed: what is in its folder, and what cannot be packed."""

import json
import shutil

import jax
import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.pack import __main__ as command
from mtl_jax.pack import packing
from mtl_jax.predict import trained_model
from mtl_jax.run import saved_networks
from mtl_jax.train import checkpoint
from mtl_jax.zoo import network_folder, packaged
from tests.pack import packable
from tests.predict import checkpoints


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return packable.write(tmp_path_factory.mktemp("run") / "multi")


@pytest.fixture(scope="module")
def packed(home, tmp_path_factory):
    out = tmp_path_factory.mktemp("zoo")
    packing.pack(home, "multi", out, None)
    return out / "multi"


def test_the_folder_has_all_of_the_network(home, packed):
    names = {path.name for path in packed.iterdir()}
    assert names == {"weights.safetensors", "network.json", "model_card.md"}
    found = network_folder.describe(packed)
    item = checkpoint.read_run(home / "checkpoints/3")
    assert found["checkpoint"] == item["digest"]
    assert found["training_data"] == packable.TRAINING_DATA
    assert (found["name"], found["role"], found["step"]) == ("multi", "multi", 3)
    assert "OpenKBP" not in found["licence"]  # the demo's patients are generated
    (split,) = found["reached"]
    assert found["reached"][split]["scores"] == {
        "openkbp_dose_score": 3.25,
        "mean_dice": 0.75,
    }
    assert found["bytes"] == (packed / "weights.safetensors").stat().st_size
    weights = saved_networks.find(home).weights()
    count = sum(leaf.size for leaf in jax.tree.leaves(weights["params"]))
    assert found["parameters"] == count


def test_no_path_and_nothing_of_the_working_directory_is_in_it(home, packed):
    for path in (packed / "network.json", packed / "model_card.md"):
        text = path.read_text()
        assert "secret" not in text.lower()
        assert str(home.parent) not in text
    card = (packed / "model_card.md").read_text()
    digest = network_folder.describe(packed)["digest"]
    assert "--checkpoint=multi CT_DIR" in card
    assert card.index(f"SHA-256 {digest}") < card.index("## Which checkpoint")
    checkpoint_digest = checkpoint.read_run(home / "checkpoints/3")["digest"]
    assert card.endswith(f"\n\n## Which checkpoint\n\n- digest: {checkpoint_digest}\n")


def test_the_same_weights_up_to_half_precision(home, packed):
    single = trained_model.load(trained_model.describe(home))
    half = trained_model.load(trained_model.describe(packed))
    exact = saved_networks.find(home).weights()
    for (path, found), expected in zip(
        jax.tree_util.tree_leaves_with_path(network_folder.weights(packed)),
        jax.tree.leaves(exact),
        strict=True,
    ):
        assert found.dtype == np.float32, path
        # Eleven bits, and 2**-24 is the smallest number.
        np.testing.assert_allclose(found, expected, rtol=2**-11, atol=2**-25)
    image = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype(np.float32)
    for task, values in single.apply(image).items():
        np.testing.assert_allclose(half.apply(image)[task], values, atol=0.02)
    model = half.model
    assert model.digest == network_folder.describe(packed)["digest"]
    assert model.author.checkpoints == (model.digest,)
    assert model.basis["checkpoint"] == model.digest


def test_the_introduction(packed):
    assert packaged.introduce(network_folder.describe(packed)).split("\n") == [
        "network multi (role multi, Multi-Automated in the paper): contours and dose "
        "from CT; 170,863 parameters in half precision",
        "trained on 3 generated phantoms of site openkbp (head and neck), cohort "
        "phantom",
        "reached on the test split (7 patients): dose score 3.250 Gy (without the "
        "image 8.000), mean Dice 0.750 (without the image 0.500)",
    ]


def test_a_run_of_a_study_is_packed_with_its_own_card(study, tmp_path):
    home = study[0] / "multi"
    made = packing.pack(home, "tiny", tmp_path, None)
    found = json.loads((home / "evaluation/test.json").read_text())
    scores = made["reached"]["test"]["scores"]
    assert scores["openkbp_dose_score"] == found["openkbp_dose_score"]
    assert "mean_dose_map" in made["reached"]["test"]["yardsticks"]
    before = (home / "model_card.md").read_text().split("\n## ")
    after = (tmp_path / "tiny/model_card.md").read_text().split("\n## ")
    changed = [
        i
        for i, pair in enumerate(zip(before, after, strict=True))
        if len(set(pair)) > 1
    ]
    (use,) = changed
    assert after[use].startswith("How to use it\n")
    assert "--checkpoint=tiny CT_DIR" in after[use]
    assert str(home) not in after[use]
    model = trained_model.describe(tmp_path / "tiny")
    assert model.training == trained_model.describe(home).training


def test_averaged_weights_are_packed(tmp_path):
    average = checkpoints.weights(checkpoints.configure("multi", "openkbp"), 9)
    home = packable.write(tmp_path / "run", average=average)
    packing.pack(home, "averaged", tmp_path, None)
    found = network_folder.weights(tmp_path / "averaged")
    kernel = found["params"]["encoder"]["conv1"]["kernel"]
    np.testing.assert_allclose(
        kernel, average["params"]["encoder"]["conv1"]["kernel"], rtol=2**-11
    )


def test_a_value_beyond_half_precision_is_an_error(tmp_path):
    home = packable.write(tmp_path / "run", head_dose__project__bias=70000.0)
    message = "params/head_dose/project/bias has the value 70000: half precision ends"
    with pytest.raises(errors.WeightsError, match=message):
        packing.pack(home, "multi", tmp_path / "zoo", None)
    assert not (tmp_path / "zoo").exists() or not [*(tmp_path / "zoo").iterdir()]


def test_a_large_file_is_an_error_and_leaves_the_one_before(
    home, packed, tmp_path, monkeypatch
):
    before = shutil.copytree(packed, tmp_path / "multi")
    monkeypatch.setattr(network_folder, "MOST_BYTES", 10_000)
    with pytest.raises(errors.WeightsError, match=r"at most 0 MB.*narrower"):
        packing.pack(home, "multi", tmp_path, None)
    assert [path.name for path in tmp_path.iterdir()] == ["multi"]
    for path in before.iterdir():
        assert path.read_bytes() == (packed / path.name).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda home: shutil.rmtree(home / "evaluation"), "has no evaluation"),
        (lambda home: (home / "model_card.md").unlink(), "model_card.md is missing"),
        (
            lambda home: (home / "model_card.md").write_text(packable.CARD),
            "or of another checkpoint",
        ),
        (lambda home: shutil.rmtree(home / "checkpoints"), "holds no checkpoint"),
    ],
)
def test_what_is_not_finished_cannot_be_packed(home, tmp_path, change, message):
    copy = shutil.copytree(home, tmp_path / "run")
    change(copy)
    with pytest.raises(errors.MtlError, match=message):
        packing.pack(copy, "multi", tmp_path, None)
    assert not (tmp_path / "multi").exists()


def test_results_of_another_checkpoint_are_not_packed(home, tmp_path):
    copy = shutil.copytree(home, tmp_path / "run")
    path = copy / "evaluation/test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checkpoint": "0"}))
    with pytest.raises(errors.WorkdirError, match="has no evaluation"):
        packing.pack(copy, "multi", tmp_path, None)


def test_results_of_several_networks_are_not_those_of_one(home, tmp_path):
    copy = shutil.copytree(home, tmp_path / "run")
    path = copy / "evaluation/test.json"
    result = json.loads(path.read_text())
    result["settings"]["also"] = ["0" * 64]
    path.write_text(json.dumps(result))
    with pytest.raises(errors.WorkdirError, match=r"results of several networks"):
        packing.pack(copy, "multi", tmp_path, None)


def test_a_network_that_needs_another_cannot_be_packed(tmp_path):
    home = checkpoints.write(tmp_path / "run", "seq_auto", "openkbp")
    with pytest.raises(errors.CheckpointError, match="needs another network"):
        packing.pack(home, "seq_auto", tmp_path, None)


def test_the_command(home, tmp_path, capsys):
    assert command.main([str(home), f"--out={tmp_path}"]) == 0
    out = capsys.readouterr().out
    assert f"MB in {tmp_path / 'multi'}" in out
    assert "reached on the test split" in out
    copy = shutil.copytree(home, tmp_path / "Own Data")
    assert command.main([str(copy)]) == 2
    assert "--name is missing" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main([str(copy), "--name=Own Data"])


def test_the_terms_of_other_data_are_asked_for(home, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "LICENCES", {})
    with pytest.raises(errors.ConfigError, match="give --licence="):
        packing.pack(home, "own", tmp_path, None)
    made = packing.pack(home, "own", tmp_path, "trained on our own patients")
    assert made["licence"] == "trained on our own patients"
