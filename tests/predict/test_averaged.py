"""The mean of several networks: its volumes, its names in the files, its errors."""

import json
import re

import numpy as np
import pydicom
import pytest

from mtl_jax.core import config as configs
from mtl_jax.core import errors
from mtl_jax.predict import averaged, trained_model
from mtl_jax.run import workdir
from tests.predict import checkpoints, test_predicting
from tests.predict import command as predicting

call, clinic, patient = predicting.call, predicting.clinic, test_predicting.patient

LARGER = {
    "model.width": 8,
    "data.image_size": (64, 32),
    "data.image_spacing_mm": 2.5,
    "data.ct_window": (-500.0, 300.0),
}


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """Two networks of a role, of other sizes, grids and windows; by role."""
    made = {}

    def get(role):
        if role not in made:
            root = tmp_path_factory.mktemp(role)
            made[role] = [
                checkpoints.write(root / "a", role, "prostate"),
                checkpoints.write(
                    root / "b", role, "prostate", steps=(2,), changes=LARGER
                ),
            ]
        return made[role]

    return get


@pytest.mark.parametrize("role", ["multi", "seq_auto"])
def test_the_mean_of_two_is_that_of_their_predictions(homes, patient, role):
    both = trained_model.load(averaged.describe(homes(role)))
    found = trained_model.predict(both, patient)
    singles = [
        trained_model.predict(trained_model.load(averaged.describe([home])), patient)
        for home in homes(role)
    ]
    doses = np.stack([single.dose_gy for single in singles])
    # Where the dose of one was cut at 0, the mean has what was below.
    inside = (doses > 0).all(axis=0)
    assert inside.mean() > 0.5 and np.abs(doses[0] - doses[1])[inside].max() > 1
    expected = doses.mean(axis=0)
    np.testing.assert_allclose(found.dose_gy[inside], expected[inside], rtol=1e-5)
    assert (found.dose_gy[~inside] <= expected[~inside] + 1e-4).all()
    for name, mask in singles[0].contours_in.items():
        np.testing.assert_array_equal(found.contours_in[name], mask)
    if role != "multi":
        return
    stored = [
        test_predicting.in_a_data_set(trained_model.load(m), patient, {}).contours
        for m in (both.model, *both.model.others)
    ]
    mean = np.mean(stored, axis=0, dtype=np.float64)
    for name, probability in zip(found.masks, mean, strict=True):
        clear = np.abs(probability - 0.5) > 1e-3
        np.testing.assert_array_equal(
            found.masks[name][clear], probability[clear] >= 0.5
        )
    apart = (stored[0] >= 0.5) != (stored[1] >= 0.5)
    assert apart.any()


def test_one_that_is_named_twice_counts_once(homes):
    first, second = homes("multi")
    once = averaged.describe([first])
    again = averaged.describe([first, first / "checkpoints" / "1"])
    assert again.others == once.others == ()
    assert (again.basis, again.author) == (once.basis, once.author)
    (other,) = averaged.describe([first, second, first, second]).others
    assert other.digest == averaged.describe([second]).digest


def test_the_first_one_s_settings_count(homes, tmp_path):
    _, second = homes("multi")
    mirrored = checkpoints.write(
        tmp_path / "m",
        "multi",
        "prostate",
        changes={"evaluate.mirror": True, "evaluate.batch_size": 8},
        contour_threshold=0.25,
    )
    model = averaged.describe([mirrored, second])
    (other,) = model.others
    for each in (model, other):
        evaluate = each.config.evaluate
        assert (evaluate.mirror, evaluate.contour_threshold) == (True, 0.25)
        assert evaluate.batch_size == 8
    assert other.preprocess.image_size == (64, 32)


STRUCTURES = ("Prostate", "Rectum", "Bladder")


@pytest.mark.parametrize(
    ("role", "site", "changes", "message"),
    [
        ("contour", "prostate", {}, "its role is 'contour', not 'multi'"),
        ("multi", "openkbp", {}, "its site is openkbp, not prostate"),
        (
            "multi",
            "prostate",
            {"data.structures": STRUCTURES},
            "its data.structures is",
        ),
        (
            "multi",
            "prostate",
            {"data.prescription_gy": 78.0},
            "its data.prescription_gy is 78.0, not 60.0",
        ),
        (
            "multi",
            "prostate",
            {"model.contour_head": "softmax"},
            "its model.contour_head is 'softmax', not 'sigmoid'",
        ),
    ],
)
def test_what_cannot_be_averaged_is_refused(
    homes, tmp_path, role, site, changes, message
):
    other = checkpoints.write(tmp_path / "other", role, site, changes=changes)
    with pytest.raises(errors.CheckpointError, match=re.escape(message)) as error:
        averaged.describe([homes("multi")[0], other])
    assert str(other) in str(error.value)


def test_a_workdir_brings_those_it_is_evaluated_with(homes, tmp_path):
    home = checkpoints.write(tmp_path / "home", "multi", "prostate", steps=(3,))
    _, second = homes("multi")
    settings = configs.flatten(trained_model.describe(home).config)
    settings["evaluate.also"] = [str(second)]
    workdir.write_json(settings, home / "config.json")
    (other,) = averaged.describe([home]).others
    assert other.digest == averaged.describe([second]).digest
    assert averaged.describe([home / "checkpoints"]).others == ()
    settings["evaluate.also"] = [str(tmp_path / "gone")]
    workdir.write_json(settings, home / "config.json")
    with pytest.raises(errors.CheckpointError, match=r"evaluate\.also.*no checkpoint"):
        averaged.describe([home])


# pydicom counts the space that makes the length of several values even.
@pytest.mark.filterwarnings("ignore:The value length .65. exceeds")
def test_the_files_name_all_of_them(homes, call, clinic, tmp_path):
    first, second = homes("multi")
    digests = [averaged.describe([home]).digest for home in (first, second)]
    status, out, err = call(f"{first},{second}", clinic / "a")
    assert status == 0, err
    assert "2 networks ready in" in out
    (folder,) = (p for p in (tmp_path / "out").iterdir() if p.is_dir())
    said = json.loads((folder / "statistics.json").read_text())
    assert (said["checkpoint"], said["step"]) == (digests[0], 1)
    assert said["averaged_with"] == [{"checkpoint": digests[1], "step": 2}]
    assert said["model"] == "multi (prostate), mean of 2 networks"
    for name, keyword in (
        ("RD.dcm", "ImageComments"),
        ("RS.dcm", "StructureSetDescription"),
    ):
        dicom = pydicom.dcmread(folder / name)
        assert list(dicom.SoftwareVersions[1:]) == digests
        assert f"mean of checkpoints {', '.join(digests)}." in dicom[keyword].value
    assert "already done" in call(f"{first},{second}", clinic / "a")[1]
    _, out, _ = call(first, clinic / "a")
    assert "already done" not in out and "network ready in" in out
    said = json.loads((folder / "statistics.json").read_text())
    assert "averaged_with" not in said and said["model"] == "multi (prostate)"
    assert "already done" not in call(f"{first},{second}", clinic / "a")[1]


def test_a_comma_may_be_in_a_name(call, clinic, tmp_path):
    home = checkpoints.write(tmp_path / "a,b", "multi", "prostate")
    assert call(home, clinic / "a")[0] == 0
    status, _, err = call(f"{home},", clinic / "a")
    assert status == 2 and "expected a path, found nothing" in err
