"""The runs of a study, their order, and the patients that folds leave out."""

import dataclasses
import pathlib

import pytest

from mtl_jax.configs import openkbp
from mtl_jax.core import config as configs
from mtl_jax.core import errors, locks
from mtl_jax.run import contour_runs, wiring, workdir
from mtl_jax.study import gather, plan

HOME = pathlib.Path("runs/openkbp")


def jobs(*roles, seeds=(0,), **data):
    config = openkbp.get_config()
    config.data.update(data)
    return plan.jobs(configs.check(config), roles, seeds, HOME)


def test_every_role_has_a_home_that_the_plain_command_shares():
    found = jobs(*plan.PAPER)
    assert [job.workdir for job in found] == [HOME / name for name in plan.PAPER]
    assert [job.role.name for job in found] == list(plan.PAPER)
    assert all(job.config.seed == 0 for job in found)


def test_contours_are_drawn_before_they_are_taken_in():
    found = jobs("seq_auto")
    assert [job.role.name for job in found] == ["contour", "seq_auto"]
    assert found[1].config.data.contours_from == str(HOME / "contour")


def test_other_seeds_have_homes_of_their_own():
    found = jobs("seq_auto", "multi", seeds=(0, 3))
    names = ["contour", "seq_auto", "multi"]
    assert [job.workdir.name for job in found] == names + [f"{n}-seed3" for n in names]
    last = found[4]
    assert last.config.seed == 3
    assert last.config.data.contours_from == str(HOME / "contour-seed3")


def test_cross_fitted_contours_need_a_run_for_each_fold():
    found = jobs("seq_auto", "multi", contour_folds=2)
    assert [job.workdir.name for job in found] == [
        *("contour", "contour-fold0of2", "contour-fold1of2"),
        *("seq_auto-folds2", "multi"),
    ]
    assert [job.is_fold for job in found] == [False, True, True, False, False]
    assert tuple(found[2].config.data.left_out_fold) == (1, 2)
    sources = contour_runs.workdirs(found[3].config, found[3].workdir)
    assert sources == [job.workdir for job in found[:3]]
    # Whoever takes none in is the same run as without folds.
    assert found[4].config.data.contour_folds == 0
    # Who draws for nobody leaves nobody out.
    assert not any(job.is_fold for job in jobs("contour", contour_folds=2))


def test_contours_of_another_study_are_taken_as_they_are():
    found = jobs("seq_auto", "multi", contours_from="elsewhere/contour")
    assert [job.role.name for job in found] == ["seq_auto", "multi"]
    assert found[0].config.data.contours_from == "elsewhere/contour"


def test_a_run_that_two_folders_have_is_not_chosen_between(tmp_path):
    (job,) = jobs("multi")
    job = dataclasses.replace(job, workdir=tmp_path / "here" / "multi")
    for place in "ab":
        workdir.write_json({}, tmp_path / place / "multi" / "config.json")
    folders = [tmp_path / place for place in "ab"]
    with pytest.raises(errors.WorkdirError, match="are the same run"):
        gather.find([job], folders)
    source = tmp_path / "a" / "multi"
    assert gather.find([job], folders[:1]) == {job.workdir: source}
    with pytest.raises(errors.WorkdirError, match="c is not a folder"):
        gather.find([job], [tmp_path / "c"])
    # While another process works there, nothing is copied.
    with locks.held(source, "wait"), pytest.raises(errors.LockedError, match="done"):
        gather.copy([job], {job.workdir: source})
    assert not job.workdir.exists()


def test_a_study_needs_roles_and_leaves_nobody_out():
    with pytest.raises(errors.ConfigError, match="no roles given; choose from contour"):
        jobs()
    with pytest.raises(errors.ConfigError, match="for single runs"):
        jobs("multi", left_out_fold=(0, 2))


class FakeData:
    class Split:
        patients = tuple(range(5))

    splits = {"train": Split()}  # noqa: RUF012


def test_each_patient_is_left_out_of_one_fold():
    folds = [job for job in jobs("seq_auto", contour_folds=2) if job.is_fold]
    out = [wiring.Run(job.config, FakeData(), job.workdir).left_out for job in folds]
    assert out == [(0, 2, 4), (1, 3)]
    whole = jobs("contour")[0]
    assert wiring.Run(whole.config, FakeData(), whole.workdir).left_out == ()


@pytest.mark.parametrize("text", ["", "a", "0,,1", "-1", "1.5"])
def test_seeds_are_whole_numbers(text):
    with pytest.raises(errors.ConfigError, match="such as 0,1,2"):
        plan.parse_seeds(text)


def test_seeds_and_durations_in_words():
    assert plan.parse_seeds("2,0,2") == (2, 0)
    assert plan.duration(59.6) == "1 min 0 s"
    assert plan.duration(3 * 3600 + 61) == "3 h 1 min"
