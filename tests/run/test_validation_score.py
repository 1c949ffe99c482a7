"""The score of the best checkpoint: by hand, by the evaluation's code, and its vote."""

import dataclasses
import functools
import json
import logging

import numpy as np
import pytest

from mtl_jax.core import geometry, records
from mtl_jax.datasets import examples, prepared
from mtl_jax.evaluation import scoring
from mtl_jax.inference import volumes
from mtl_jax.losses import objective
from mtl_jax.pipeline import batches, image_channels, preprocess
from mtl_jax.run import validation_score
from mtl_jax.train import checkpoint
from tests.evaluation import eight_voxels

GRID, SITE, RULES = eight_voxels.GRID, eight_voxels.SITE, eight_voxels.RULES
mask = eight_voxels.mask
BOTH = ("contours", "dose")
STRUCTURES = ("Brainstem", "Larynx")
PREPROCESS = preprocess.Preprocess(
    site=SITE,
    structures=STRUCTURES,
    beside_ct="none",
    ct_values="stored",
    ct_window=(-1024.0, 1500.0),
    ct_mean=0.0,
    ct_std=1.0,
    prescription_gy=70.0,
    image_size=(2, 4),
    image_spacing_mm=0.0,
    further=image_channels.NO_FURTHER,
)


def make_patient(number, dose_gy, *, has_dose=True, **structures):
    """A patient whose CT shows `number`; a dose is possible in the upper row."""
    possible = mask(0, 1, 2, 3)
    return records.Patient(
        patient_id=f"pt_{number}",
        grid=GRID,
        ct=np.full(GRID.shape, number, np.float32),
        structures={name: mask(*voxels) for name, voxels in structures.items()},
        dose_gy=(possible * dose_gy).astype(np.float32) if has_dose else None,
        possible_dose_mask=possible,
    )


def make_split(name, *patients):
    source, entries = [], []
    for patient in patients:
        stack = examples.stack(patient, SITE)
        entries.append(dataclasses.replace(stack.entry, start=len(source)))
        source += examples.slices(stack)
    return prepared.Split(name, source, tuple(entries), SITE)


TRAIN = make_split("train", make_patient(1, 12.0, Brainstem=[0]))
TWO = make_split(
    "validation",
    make_patient(1, 10.0, Brainstem=[0, 1]),
    make_patient(2, 30.0, Brainstem=[0, 1, 2, 3], Larynx=[5]),
)


def make_score(folder, *, positions=(0, 1), validation=TWO, train=TRAIN, **changes):
    others = set(range(len(validation.patients))) - set(positions)
    pre = changes.pop("preprocess", PREPROCESS)
    parts = {
        "train": train,
        "validation": validation,
        "fingerprint": "f" * 64,
        "positions": positions,
        "batches": lambda: batches.evaluation(
            validation, preprocess=pre, batch_size=4, leave_out=others
        ),
        "preprocess": pre,
        "rules": RULES,
        "tasks": BOTH,
        "workdir": folder,
    }
    return validation_score.OverYardsticks(**(parts | changes))


def network(image, *, dose_gy, inside, outside=0.1):
    """The same for every slice: a dose, and [0, 1] of the brainstem as `inside`."""
    contours = np.full((*image.shape[:-1], 2), outside, np.float32)
    contours[:, 0, :2, 0] = inside
    dose = np.full((*image.shape[:-1], 1), dose_gy / 70, np.float32)
    return {"contours": contours, "dose": dose}


LOSSES = {"contours": 0.25, "dose": 0.125}
DRAWN = functools.partial(network, dose_gy=5.0, inside=0.9)


def test_two_patients_by_hand(tmp_path):
    found = make_score(tmp_path)(DRAWN)()(LOSSES)
    # Dose: 10 and 30 Gy; 5 Gy are predicted, and the training patient has 12 Gy.
    assert found["validation/dose_score_gy"] == pytest.approx((5 + 25) / 2)
    dose = (5 + 25) / (2 + 18)
    # Brainstem: 2 of 2 and 2 of 4 voxels are drawn; the prior map has 1 of them. The
    # larynx is missed by both.
    assert found["validation/mean_dice"] == pytest.approx((1 + 2 / 3) / 2 / 2)
    prior = (2 / 3 + 2 / 5) / 2 / 2
    contours = (1 - (1 + 2 / 3) / 4) / (1 - prior)
    assert found == pytest.approx(
        {
            "validation/dose_score_gy": 15.0,
            "validation/mean_dice": 5 / 12,
            "validation/ratio/dose": dose,
            "validation/ratio/contours": contours,
            "validation/score": (dose + contours) / 2,
        }
    )
    stored = json.loads((tmp_path / validation_score.NAME).read_text())
    assert stored["figures"] == pytest.approx({"mean_dice": prior, "dose_score_gy": 10})
    assert stored["basis"]["patients"] == ["pt_1", "pt_2"]


def test_only_the_chosen_patients_and_the_roles_task_count(tmp_path):
    found = make_score(tmp_path, positions=(1,), tasks=("dose",))(
        lambda image: {"dose": DRAWN(image)["dose"]}
    )()({"dose": 0.5})
    assert found == pytest.approx(
        {
            "validation/dose_score_gy": 25.0,
            "validation/ratio/dose": 25 / 18,
            "validation/score": 25 / 18,
        }
    )


def test_dose_where_none_is_possible_counts_unless_the_mask_is_applied(tmp_path):
    rules = dataclasses.replace(RULES, apply_possible_dose_mask=False)
    found = make_score(tmp_path, rules=rules)(DRAWN)()(LOSSES)
    # Four voxels of 5 Gy more, for each four of the mask.
    assert found["validation/dose_score_gy"] == pytest.approx(15 + 5)
    assert found["validation/ratio/dose"] == pytest.approx(20 / 10)


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
@pytest.mark.parametrize("largest", [False, True])
def test_the_figures_are_those_of_the_evaluation(tmp_path, rng, head, largest):
    """On the CT's own grid, for a network with another one."""
    grid = geometry.Grid((3, 7, 6), (2.0, 3.0, 3.0))
    patients = [
        records.Patient(
            patient_id=f"pt_{number}",
            grid=grid,
            ct=rng.integers(0, 1000, grid.shape).astype(np.float32),
            structures={name: rng.random(grid.shape) < 0.5 for name in STRUCTURES},
            dose_gy=rng.uniform(0, 70, grid.shape).astype(np.float32),
            possible_dose_mask=rng.random(grid.shape) < 0.8,
        )
        for number in range(3)
    ]
    split = make_split("validation", *patients)
    pre = dataclasses.replace(PREPROCESS, image_size=(5, 5), image_spacing_mm=4.0)
    rules = dataclasses.replace(RULES, contour_head=head, largest_component=largest)

    def predict(image):
        ct = np.sin(image[..., 0])
        return {"contours": np.stack([ct**2, 1 - ct**2], -1), "dose": ct[..., None]}

    one = make_score(
        tmp_path, validation=split, train=split, positions=(0, 2), preprocess=pre,
        rules=rules,
    )  # fmt: skip
    found = one(predict)()(LOSSES)
    grids = dict.fromkeys(range(3), grid)
    feed = volumes.Feed(one.batches(), predict, pre)
    rows = [
        row
        for index, prediction in volumes.predict([feed], grids)
        for row in scoring.score(patients[index], prediction, rules)
    ]
    expected = scoring.summarise(rows, SITE)
    assert expected["patients"] == 2
    assert found["validation/dose_score_gy"] == expected["openkbp_dose_score"]
    assert found["validation/mean_dice"] == expected["mean_dice"]


def test_the_better_dose_wins_though_its_losses_are_higher(tmp_path):
    """Equal Dice; the contours are less sure, which outweighs the dose's loss."""
    sure = DRAWN
    unsure = functools.partial(network, dose_gy=10.0, inside=0.6, outside=0.4)
    options = {
        "dice_weight": 0.3, "cross_entropy_weight": 0.7, "dice_per_sample": False,
        "dice_smooth": 1e-5, "dose_region": "possible", "dose_slices": "possible",
        "contour_head": "sigmoid",
    }  # fmt: skip
    losses_of = objective.Objective(BOTH, options)
    score, former = make_score(tmp_path), validation_score.SumOfLosses()
    (batch,) = score.batches()

    def scores(predict):
        outputs = predict(batch["image"])
        p = outputs["contours"]
        logits = outputs | {"contours": np.log(p / (1 - p))}
        by_task, _ = losses_of.losses(losses_of.sums(logits, batch))
        losses = {task: float(loss) for task, loss in by_task.items()}
        return score(predict)()(losses), former(predict)()(losses)

    (before, sum_before), (after, sum_after) = scores(sure), scores(unsure)
    assert before["validation/mean_dice"] == after["validation/mean_dice"]
    assert before["validation/dose_score_gy"] > after["validation/dose_score_gy"]
    assert sum_before["validation/score"] < sum_after["validation/score"]
    assert before["validation/score"] > after["validation/score"]


@pytest.mark.parametrize("missing", BOTH)
def test_without_a_figure_the_loss_of_the_task_counts(tmp_path, caplog, missing):
    has_dose = missing == "contours"
    drawn = {"Brainstem": [0, 1]} if missing == "dose" else {}
    split = make_split("validation", make_patient(1, 10.0, has_dose=has_dose, **drawn))
    score = make_score(tmp_path, validation=split, positions=(0,))
    with caplog.at_level(logging.INFO, "mtl_jax"):
        score.prepare()
    (warning,) = [r for r in caplog.records if r.levelname == "WARNING"]
    assert f"best checkpoint, {missing}: the validation loss" in warning.getMessage()
    found = score(DRAWN)()(LOSSES)
    ratio = {"dose": (1 - 1) / (1 - 2 / 3), "contours": 5 / 2}[missing]
    assert found["validation/score"] == pytest.approx((ratio + LOSSES[missing]) / 2)
    assert len(found) == 3


@pytest.mark.parametrize("train", ["dose", "contours"])
def test_a_yardstick_that_cannot_be_fitted_leaves_the_loss(tmp_path, train):
    has_dose = train == "dose"
    drawn = {} if has_dose else {"Brainstem": [0]}
    split = make_split("train", make_patient(1, 12.0, has_dose=has_dose, **drawn))
    score = make_score(tmp_path, train=split)
    found = score(DRAWN)()(LOSSES)
    assert list(score.yardsticks) == [train]
    (other,) = {*BOTH} - {train}
    expected = (found[f"validation/ratio/{train}"] + LOSSES[other]) / 2
    assert found["validation/score"] == expected
    assert f"validation/{validation_score.FIGURES[other].name}" in found


def test_drawing_nothing_where_nothing_is_makes_no_error(tmp_path):
    split = make_split("validation", make_patient(1, 10.0, Brainstem=[]))
    score = make_score(tmp_path, validation=split, positions=(0,), tasks=("contours",))
    nothing = functools.partial(network, dose_gy=0, inside=0.1)
    assert score(nothing)()(LOSSES)["validation/ratio/contours"] == 0
    # The prior map draws a voxel there, and so does this network.
    assert score(DRAWN)()(LOSSES)["validation/ratio/contours"] == 1


class Unread(list):
    """Slices that may not be read any more."""

    def __getitem__(self, index):
        raise AssertionError(f"slice {index} is read")


def test_yardsticks_are_fitted_once_for_data_patients_and_rules(tmp_path):
    first = make_score(tmp_path)
    first.prepare()
    unread = dataclasses.replace(TRAIN, source=Unread(TRAIN.source))
    again = make_score(tmp_path, train=unread)
    assert again.yardsticks == first.yardsticks
    assert again(DRAWN)()(LOSSES) == first(DRAWN)()(LOSSES)
    rules = dataclasses.replace(RULES, apply_possible_dose_mask=False)
    for changes in ({"fingerprint": "0"}, {"positions": (0,)}, {"rules": rules}):
        with pytest.raises(AssertionError, match="is read"):
            make_score(tmp_path, train=unread, **changes).prepare()


def test_scores_have_the_same_measure_if_they_depend_on_the_same():
    measure = make_score(None).measure
    assert measure == make_score(None, train=TWO).measure != checkpoint.LOSSES
    assert "validation patients: 2" in measure
    assert "pt_1" not in measure
    for changes in (
        {"fingerprint": "0"},
        {"positions": (0,)},
        {"rules": dataclasses.replace(RULES, contour_threshold=0.4)},
        {"rules": dataclasses.replace(RULES, largest_component=True)},
        {"tasks": ("dose",)},
    ):
        assert make_score(None, **changes).measure != measure
    softmax = [
        dataclasses.replace(RULES, contour_head="softmax", contour_threshold=t)
        for t in (0.4, 0.5)
    ]
    one, other = (make_score(None, rules=rules).measure for rules in softmax)
    assert one == other


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(40, 8, range(2, 40, 5)), (8, 8, range(8)), (3, 8, range(3)), (5, 2, [1, 3])],
)
def test_patients_are_spread_over_the_split(count, most, expected):
    assert validation_score.spread(count, most) == list(expected)
    assert validation_score.spread(count, 0) == []
