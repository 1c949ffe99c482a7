"""A run that starts from the weights of an earlier network (`model.start_from`)."""

import json
import shutil

import jax
import numpy as np
import pytest

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.predict import trained_model
from mtl_jax.run import command as run_command
from mtl_jax.run import wiring
from mtl_jax.train import checkpoint
from mtl_jax.train import state as states
from mtl_jax.zoo import network_folder, packaged
from tests.pack import packable
from tests.predict import checkpoints

STRUCTURES = ("Brainstem", "SpinalCord", "LeftParotid", "RightParotid")


def save(home, role="multi", site="openkbp"):
    """A working directory with random weights and statistics of `role`."""
    config = checkpoints.configure(role, site)
    made, rng = checkpoints.weights(config, 1), np.random.default_rng(2)
    made["batch_stats"] = jax.tree.map(
        lambda a: a + rng.random(a.shape, np.float32), made["batch_stats"]
    )
    state = checkpoints.State(np.array(3, np.int32), **made, moments={})
    with checkpoint.Checkpoints(home / "checkpoints") as opened:
        opened.save(3, state, checkpoints.describe(config), None)
    return home, made


@pytest.fixture
def begin(command, tmp_path):
    """`begin(role, **changes)`: a run on phantoms that has not begun."""

    def begin(role="multi", *, structures=STRUCTURES, **model):
        config = configs.unflatten(
            configs.flatten(checkpoints.configure(role, "openkbp"))
        )
        config.data.structures = structures
        config.data.phantom_patients = (2, 1, 1)
        config.seed = 5
        config.model.update(model)
        data = run_command.prepare_in(
            wiring.check(config), data_dir=command.data_dir, manual_dir=None
        )
        return wiring.Run(config, data, tmp_path / "run")

    return begin


def fresh(begin, *arguments, **options):
    """The variables of the same run without an earlier network."""
    return states.weights(begin(*arguments, **options).initial_state()[0])


def assert_equal(variables, expected, *modules):
    for module in modules:
        for collection in ("params", "batch_stats"):
            found = variables[collection].get(module, {})
            np.testing.assert_equal(found, expected[collection].get(module, {}))


def test_the_same_configuration_starts_with_the_same_outputs(begin, tmp_path):
    home, _ = save(tmp_path / "earlier")
    # A file that is not there would be an error: it is not read.
    run = begin(start_from=str(home), pretrained="nowhere.pth")
    state, origin = run.initial_state()
    item = checkpoint.read_run(home / "checkpoints/3")
    assert checkpoint.digest(states.weights(state)) == item["weights_digest"]
    image = np.random.default_rng(0).normal(size=(4, 32, 32, 1)).astype(np.float32)
    expected = trained_model.load(trained_model.describe(home)).apply(image)
    found = jax.jit(run.step.predict)(state, image)
    for task, values in expected.items():
        np.testing.assert_allclose(found[task], values, rtol=1e-5, atol=1e-6)
    assert origin["pretrained"].startswith("not used")
    start = origin["start_from"]
    assert (start["digest"], start["step"]) == (item["digest"], 3)
    assert (start["role"], start["site"]) == ("multi", "openkbp")
    assert start["carried"] == start["parameters"] > 1000
    assert start["anew"] == []
    assert state.step == 0
    moments = jax.tree.leaves(state.opt_state)
    assert all(not np.any(leaf) for leaf in moments)


def test_known_structures_keep_their_channels_and_new_ones_start_anew(begin, tmp_path):
    home, earlier = save(tmp_path / "earlier")
    names = ("RightParotid", "Larynx", "Brainstem", "SpinalCord", "LeftParotid")
    state, origin = begin(structures=names, start_from=str(home)).initial_state()
    variables, initial = states.weights(state), fresh(begin, structures=names)
    assert_equal(
        variables, earlier, "encoder", "attention", "bottleneck", "decoder_contours"
    )
    assert_equal(variables, earlier, "decoder_dose", "head_dose")
    for leaf in ("kernel", "bias"):
        found, before, new = (
            tree["params"]["head_contours"]["project"][leaf]
            for tree in (variables, earlier, initial)
        )
        for channel, name in enumerate(names):
            expected = new[..., channel]
            if name != "Larynx":
                expected = before[..., STRUCTURES.index(name)]
            np.testing.assert_array_equal(found[..., channel], expected)
    assert origin["start_from"]["anew"] == ["head_contours/project: Larynx"]


def test_the_ct_s_channel_is_carried_beside_new_ones(begin, tmp_path):
    home, earlier = save(tmp_path / "earlier", "baseline")
    state, origin = begin("seq_human", start_from=str(home)).initial_state()
    variables, initial = states.weights(state), fresh(begin, "seq_human")
    found, before, new = (
        tree["params"]["encoder"].pop("conv1")["kernel"]
        for tree in (variables, earlier, initial)
    )
    assert found.shape[2] == 5
    np.testing.assert_array_equal(found[:, :, :1], before)
    np.testing.assert_array_equal(found[:, :, 1:], new[:, :, 1:])
    assert_equal(variables, earlier, "encoder", "decoder_dose", "head_dose")
    assert origin["start_from"]["anew"] == [
        "encoder/conv1: Brainstem, SpinalCord, Parotid_L, Parotid_R"
    ]


def test_organs_of_another_role_s_input_are_found_by_name(begin, tmp_path):
    home, earlier = save(tmp_path / "earlier", "seq_human")
    state, origin = begin("informed", start_from=str(home)).initial_state()
    kernel = states.weights(state)["params"]["encoder"]["conv1"]["kernel"]
    before = earlier["params"]["encoder"]["conv1"]["kernel"]
    # CT, Brainstem, SpinalCord, RightParotid, LeftParotid, Esophagus, Larynx, ...
    np.testing.assert_array_equal(kernel[:, :, :5], before[:, :, [0, 1, 2, 4, 3]])
    assert origin["start_from"]["anew"] == [
        "encoder/conv1: Esophagus, Larynx, Bone_Mandible, painted prescription"
    ]


def test_an_encoder_of_another_role(begin, tmp_path, caplog):
    home, earlier = save(tmp_path / "earlier", "baseline")
    with caplog.at_level("INFO", "mtl_jax"):
        state, origin = begin(start_from=str(home)).initial_state()
    variables, initial = states.weights(state), fresh(begin)
    assert_equal(variables, earlier, "encoder", "decoder_dose", "head_dose")
    anew = ["attention", "bottleneck", "decoder_contours", "head_contours"]
    assert_equal(variables, initial, *anew)
    assert sorted(origin["start_from"]["anew"]) == anew
    (line,) = (r.message for r in caplog.records if "start anew" in r.message)
    assert all(module in line for module in anew)


def test_structures_of_another_site_start_anew(begin, tmp_path):
    home, earlier = save(tmp_path / "earlier", "multi", "prostate")
    names = (*STRUCTURES, "Larynx")  # as many as there
    state, origin = begin(structures=names, start_from=str(home)).initial_state()
    variables, initial = states.weights(state), fresh(begin, structures=names)
    assert_equal(variables, earlier, "encoder", "attention", "decoder_contours")
    assert_equal(variables, initial, "head_contours")
    assert origin["start_from"]["site"] == "prostate"
    assert origin["start_from"]["anew"] == ["head_contours"]


def test_a_background_channel_starts_anew(begin, tmp_path):
    home, _ = save(tmp_path / "earlier")
    run = begin(start_from=str(home), contour_head="softmax")
    (anew,) = run.initial_state()[1]["start_from"]["anew"]
    assert anew == "head_contours/project: background"


def test_a_packaged_network_is_taken_by_its_name(begin, tmp_path, monkeypatch):
    packed = packable.pack(tmp_path)
    monkeypatch.setattr(packaged, "FOLDER", packed.parent)
    state, origin = begin(start_from="multi").initial_state()
    expected = network_folder.weights(packed)
    np.testing.assert_equal(states.weights(state), expected)
    digest = network_folder.describe(packed)["digest"]
    assert origin["start_from"]["digest"] == digest
    message = "model.start_from: there is no folder mutli; no network called 'mutli'"
    with pytest.raises(errors.CheckpointError, match=message):
        begin(start_from="mutli").initial_state()


def test_a_network_of_which_nothing_fits_is_refused(begin, tmp_path):
    home, _ = save(tmp_path / "earlier")
    run = begin(start_from=str(home), width=8, decoder_widths=(12, 12, 12, 12, 12))
    message = r"start_from: no kernel of .*checkpoints.3 \(role multi, site openkbp\)"
    with pytest.raises(errors.CheckpointError, match=message):
        run.initial_state()


def test_a_damaged_one_is_refused(begin, tmp_path):
    home, _ = save(tmp_path / "earlier")
    path = home / "checkpoints/3/run/metadata"
    item = json.loads(path.read_text()) | {"weights_digest": "0"}
    del item["description_digest"]
    path.write_text(json.dumps(item))
    with pytest.raises(errors.CheckpointError, match="contents differ"):
        begin(start_from=str(home)).initial_state()
    shutil.rmtree(home / "checkpoints/3/state")
    with pytest.raises(errors.CheckpointError, match="cannot be read"):
        begin(start_from=str(home)).initial_state()


def test_the_command_notes_it_and_needs_it_only_to_begin(command, tmp_path):
    home, _ = save(tmp_path / "earlier", "baseline")
    options = {
        "config": "configs/demo.py:contour",
        "model__start_from": home,
        "train__checkpoint_every": 2,
        "train__validate_every": 8,
        "train__images_every": 8,
        "optimizer__schedule": "constant",
    }
    wrong = options | {"model__start_from": tmp_path / "nowhere"}
    status, _, err = command.call(tmp_path / "run", **wrong)
    assert status == 1
    assert "model.start_from: " in err and "nowhere holds no checkpoint" in err
    assert not (tmp_path / "run/config.json").exists()
    status, _, err = command.call(tmp_path / "run", **options, train__steps=2)
    assert status == 0, err
    assert "start anew: decoder_contours; head_contours" in err
    shutil.rmtree(home)
    status, _, err = command.call(tmp_path / "run", **options, train__steps=4)
    assert status == 0, err
    assert "start anew" not in err
    starts = json.loads((tmp_path / "run/provenance.json").read_text())["starts"]
    first, second = starts
    assert first["start_from"]["role"] == "baseline"
    assert len(first["start_from"]["digest"]) == 64
    assert second["from_step"] == 2 and "start_from" not in second
    card = (tmp_path / "run/model_card.md").read_text()
    assert f"digest {first['start_from']['digest']}" in card
    assert "- started anew: decoder_contours; head_contours" in card
    assert str(tmp_path / "earlier") not in card
