"""The contract of the configuration, and what its errors say."""

import pytest

from mtl_jax.configs import accelerator, common, demo, openkbp, prostate, prostate_demo
from mtl_jax.core import config as configs
from mtl_jax.core import errors, roles, sites


def changed(key, value):
    config = common.get_config()
    with config.unlocked():
        *path, name = key.split(".")
        part = config
        for step in path:
            part = part[step]
        part[name] = value
    return config


def test_every_key_has_a_value_and_every_value_a_key():
    assert set(configs.flatten(common.get_config())) == set(configs.KEYS)


@pytest.mark.parametrize("role", list(roles.ROLES))
@pytest.mark.parametrize("file", [openkbp, prostate])
def test_every_role_of_the_paper_is_a_configuration(file, role):
    assert configs.check(file.get_config(role)).role == role


def test_an_accelerators_rate_follows_its_batch():
    one, eight = (
        configs.check(accelerator.get_config(choice)) for choice in ("hps", "multi,8")
    )
    assert (one.role, eight.role) == ("hps", "multi")
    assert (one.train.batch_size, eight.train.batch_size) == (64, 512)
    # The paper's 1e-4 for 8 slices.
    assert one.optimizer.learning_rate == pytest.approx(8e-4)
    assert eight.optimizer.learning_rate == pytest.approx(6.4e-3)
    assert one.train.batch_norm_slices == eight.train.batch_norm_slices == 64


def test_the_prostates_run_is_the_papers():
    config = configs.check(prostate.get_config())
    site = sites.get(config.site)
    assert config.train.batch_size == 32
    assert config.data.prescription_gy == site.prescription_gy == 60.0
    assert tuple(config.data.structures) == site.contoured
    assert (config.data.ct_values, config.data.statistics) == ("hu", "fitted")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.bach_size", 8, r"unknown key train\.bach_size.*train\.batch_size"),
        ("role", "mutli", r"unknown role 'mutli'; did you mean 'multi'"),
        ("data.left_out_fold", (2, 2), r"left_out_fold is \(2, 2\)"),
        ("data.contour_folds", 1, r"contour_folds is 1"),
        ("model.gamma_init", float("inf"), r"gamma_init is inf: give a finite number"),
        ("site", "openkpb", r"unknown site 'openkpb'; did you mean 'openkbp'"),
        ("data.structures", ("Brainsten",), r"no structure 'Brainsten'.*'Brainstem'"),
        ("data.structures", ("Larynx", "Larynx"), r"repeats"),
        ("data.image_size", (100, 128), r"data\.image_size.*multiples of 32"),
        ("data.ct_window", (5.0, 5.0), "give the lower limit first"),
        ("data.ct_second_window", (5.0, 0.0), "lower limit first, or"),
        ("data.ct_second_window", (5.0,), "give two numbers"),
        ("data.neighbours", -1, "a whole number of at least 0"),
        ("data.target_distance_mm", -50.0, "a number of at least 0"),
        ("train.batch_size", 0, r"train\.batch_size is 0: give a whole number"),
        ("train.batch_size", True, r"train\.batch_size is True"),
        ("train.accumulate", 3, r"batch_size 8 cannot be split"),
        ("train.batch_norm_slices", 3, r"is 3, which does not divide the 8 slices"),
        ("train.compiler_options", "fast", r"one of default, tuned"),
        ("optimizer.learning_rate", float("nan"), r"learning_rate is nan"),
        ("train.backend", "pjit", r"one of jit, pmap"),
        ("optimizer.no_decay", ("",), r"no_decay is \[''\]: give names of modules"),
        ("train.epochs", 0, r"both 0"),
        ("augment.rotation_step_deg", 50.0, r"an angle in degrees that divides 360"),
        ("optimizer.schedule", "linear", r"one of constant, cosine"),
        ("optimizer.final_rate", 1.5, r"at least 0, at most 1"),
    ],
)
def test_an_error_names_the_key_and_the_way_out(key, value, message):
    with pytest.raises(errors.ConfigError, match=message):
        configs.check(changed(key, value))


def test_a_mirror_image_needs_both_sides():
    config = changed("data.structures", ("Brainstem", "LeftParotid"))
    configs.check(config)
    config = changed("data.structures", ("Brainstem", "LeftParotid"))
    config.evaluate.mirror = True
    with pytest.raises(errors.ConfigError, match="RightParotid is not among"):
        configs.check(config)
    config.role = "baseline"
    configs.check(config)


def test_a_missing_key_is_named():
    config = common.get_config()
    del config.train.batch_size
    with pytest.raises(errors.ConfigError, match=r"without a value: train\.batch_size"):
        configs.check(config)


def test_only_keys_that_shape_training_are_differences():
    earlier = configs.flatten(common.get_config())
    assert configs.differences(changed("train.log_every", 3), earlier) == []
    assert configs.differences(changed("train.epochs", 3), earlier) == []
    (found,) = configs.differences(changed("seed", 3), earlier)
    assert found == "seed was 0, is 3"


def cosine(steps, decay_steps=0, schedule="cosine"):
    config = common.get_config()
    config.optimizer.update(decay_steps=decay_steps, schedule=schedule)
    config.train.steps = steps
    return config


def test_a_cosine_may_end_later_but_stays_a_cosine():
    for earlier in (cosine(1000), cosine(1000, 1000, "constant"), cosine(2000, 1000)):
        stored = configs.flatten(earlier)
        assert configs.differences(cosine(2000), stored) == []
        assert configs.differences(cosine(2000, 2000, "constant"), stored) == []
        assert configs.differences(cosine(2000, schedule="constant"), stored)
    constant = configs.flatten(cosine(1000, schedule="constant"))
    (found,) = configs.differences(cosine(1000), constant)
    assert found == "optimizer.schedule was 'constant', is 'cosine'"


def test_a_stored_configuration_without_the_newer_keys_is_as_before():
    config = cosine(1000, 1000, "constant")
    config.loss.update(dose_region="all", dose_slices="all")
    config.optimizer.no_decay = ()
    stored = configs.flatten(config)
    for key in configs.BEFORE:
        del stored[key]
    assert configs.differences(config, stored) == []
    again = configs.check(configs.unflatten(stored))
    assert configs.Schedule.of(again, 40).cosine_steps == 1000


@pytest.mark.parametrize(
    ("file", "highest", "steps"),
    [(demo, 3e-3, 1000), (prostate_demo, 3e-3, 500)],
)
def test_the_small_runs_have_a_cosine_over_all_their_steps(file, highest, steps):
    config = configs.check(file.get_config())
    schedule = configs.Schedule.of(config, 40)
    assert (schedule.steps, schedule.cosine_steps) == (steps, steps)
    assert config.optimizer.learning_rate == highest
    assert (config.optimizer.warmup_steps, config.optimizer.final_rate) == (0, 0)
    config.train.steps = 12
    assert configs.Schedule.of(config, 40).cosine_steps == 12


def test_a_configuration_comes_back_from_its_flat_form():
    config = common.get_config()
    again = configs.unflatten(configs.flatten(config))
    assert configs.flatten(configs.check(again)) == configs.flatten(config)
    assert again.data.ct_window == config.data.ct_window


def test_a_configuration_written_before_a_key_existed_keeps_what_it_did():
    config = common.get_config()
    earlier = configs.flatten(config)
    for key in configs.BEFORE:
        del earlier[key]
    again = configs.check(configs.unflatten(earlier))
    assert (again.loss.dose_region, again.loss.dose_slices) == ("all", "all")
    assert again.optimizer.no_decay == ()
    assert configs.differences(again, earlier) == []
    found = configs.differences(config, earlier)
    assert "loss.dose_region was 'all', is 'possible'" in found
    assert "optimizer.no_decay was [], is ['bottleneck']" in found


def test_a_configuration_that_is_passed_on_names_no_file():
    config = common.get_config()
    config.data.roi_mapping, config.evaluate.also = "doe.yaml", ("runs/doe",)
    config.model.pretrained = config.model.start_from = "doe.pth"
    flat = configs.without_paths(configs.flatten(config) | {"of_another": "doe"})
    expected = configs.flatten(common.get_config()) | {"model.pretrained": "none"}
    assert flat == expected | {"of_another": "doe"}


def test_the_schedule_falls_back_on_the_epoch():
    config = common.get_config()
    schedule = configs.Schedule.of(config, 40)
    assert schedule.steps == 4000
    assert schedule.dwa_interval == 40
    assert schedule.checkpoint_every == 40
    config.train.steps, config.dwa.interval_steps = 7, 3
    schedule = configs.Schedule.of(config, 40)
    assert (schedule.steps, schedule.dwa_interval) == (7, 3)


def test_the_cosine_ends_with_the_run_or_at_a_step_of_its_own():
    assert configs.Schedule.of(cosine(0), 40).cosine_steps == 4000
    assert configs.Schedule.of(cosine(7), 40).cosine_steps == 7
    assert configs.Schedule.of(cosine(7, 5), 40).cosine_steps == 5
    assert configs.Schedule.of(cosine(7, 5, "constant"), 40).cosine_steps == 5
    assert configs.Schedule.of(cosine(7, schedule="constant"), 40).cosine_steps == 0
    config = cosine(7)
    config.optimizer.warmup_steps = 7
    with pytest.raises(errors.ConfigError, match=r"warmup_steps is 7.*ends at step 7"):
        configs.Schedule.of(config, 40)


def test_a_call_makes_several_steps_where_nothing_is_due_between_them():
    config = common.get_config()
    config.train.update(steps=47, steps_per_call=5, log_every=10)
    config.train.update(validate_every=22, checkpoint_every=100, images_every=100)
    schedule = configs.Schedule.of(config, 40)
    calls, made = [], 0
    while made < schedule.steps:
        calls.append(schedule.next_call(made))
        made += calls[-1]
    # 20 to 25 and 40 to 45 hold a validation; 47 ends the run.
    assert calls == [5] * 4 + [1] * 5 + [5] * 3 + [1] * 7
    assert all(schedule.next_call(made) == 1 for made in (1, 6, 46))
