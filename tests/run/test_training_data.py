"""What is said of a training split, by hand; and of CTs that are like it, or not."""

import dataclasses
import json

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, records, sites
from mtl_jax.datasets import examples, prepared
from mtl_jax.run import training_data
from mtl_jax.sources.phantom import head_and_neck, male_pelvis

SITE = sites.OPENKBP
OFFSET = SITE.ct_offset_hu


def make_split(patients, site=SITE):
    """Patients as a split in memory."""
    source, entries = [], []
    for patient in patients:
        stack = examples.stack(patient, site)
        entries.append(dataclasses.replace(stack.entry, start=len(source)))
        source += examples.slices(stack)
    return prepared.Split("train", source, tuple(entries), site)


def make_patient(name, shape, spacing_mm, *, tissue_hu=0.0, structures=(), dose=True):
    """Air, and a body of one value in the left half."""
    hu = np.full(shape, -1000.0, np.float32)
    hu[:, :, : shape[2] // 2] = tissue_hu
    empty = np.zeros(shape, np.float32)
    return records.Patient(
        patient_id=name,
        grid=geometry.Grid(shape, spacing_mm),
        ct=hu + np.float32(OFFSET),
        structures={one: empty.astype(bool) for one in structures},
        dose_gy=empty if dose else None,
        possible_dose_mask=None,
    )


TWO = (
    make_patient("a", (3, 8, 10), (2.0, 4.0, 5.0), structures=("Larynx", "PTV70")),
    make_patient("b", (5, 8, 12), (3.0, 2.0, 3.0), tissue_hu=50.0, dose=False),
)


def test_a_split_of_two_patients_by_hand():
    found = training_data.describe(make_split(TWO))
    values = found.pop("ct_hu")
    counts = found.pop("structures")
    assert found == {
        "site": "openkbp",
        "body_part": "head and neck",
        "patients": 2,
        "slices": 8,
        "slices_a_patient": [3, 5],
        "with_dose": 1,
        "spacing_mm": [2.0, 5.0],
        "slice_spacing_mm": [2.0, 3.0],
        "field_of_view_mm": {"y": [16.0, 32.0], "x": [36.0, 50.0]},
        "length_mm": [6.0, 15.0],
        "matrix_sizes": {"8 x 10": 1, "8 x 12": 1},
    }
    assert {name for name, count in counts.items() if count} == {"Larynx", "PTV70"}
    assert list(counts) == list(SITE.names)
    assert (values["slices"], values["patients"]) == (8, 2)
    assert values["grid"]["1"] == [-1000.0, -1000.0, -1000.0]
    assert values["grid"]["75"] == [0.0, 25.0, 50.0]
    assert values["body"]["5"] == values["body"]["95"] == [0.0, 25.0, 50.0]


def test_it_is_the_same_after_json_and_names_nobody():
    split = make_split(TWO)
    found = training_data.describe(split)
    assert json.loads(json.dumps(found)) == found == training_data.describe(split)
    secret = dataclasses.replace(TWO[0], patient_id="Doe-Jane-1961")
    assert "Doe" not in json.dumps(training_data.describe(make_split([secret])))


def test_patients_that_are_left_out_do_not_count():
    split = make_split(TWO)
    alone = training_data.describe(make_split(TWO[1:]))
    assert training_data.describe(split, leave_out=(0,)) == alone
    with pytest.raises(errors.DatasetError, match="no patient to train on"):
        training_data.describe(split, leave_out=(0, 1))


class Counted(list):
    """A source that notes what is read."""

    def __init__(self, source):
        super().__init__(source)
        self.read = []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


def test_few_slices_are_read_of_many(monkeypatch):
    split = make_split([TWO[0], TWO[1]] * 5)
    source = Counted(split.source)
    split = dataclasses.replace(split, source=source)
    monkeypatch.setattr(training_data, "SLICES", 12)
    monkeypatch.setattr(training_data, "MOST_PATIENTS", 6)
    found = training_data.describe(split)
    assert (found["slices"], found["ct_hu"]["slices"]) == (40, 12)
    assert len(set(source.read)) == len(source.read) == 12
    first = source.read.copy()
    source.read.clear()
    training_data.describe(split)
    assert source.read == first


# New CTs against generated patients of both sites.


def head(index):
    return head_and_neck.make_patient(0, index)


def pelvis(index):
    shape, spacing = (48, 80, 96), (6.0, 5.5, 5.0)
    made = male_pelvis.make_pelvis(0, index, shape=shape, spacing_mm=spacing)
    return records.Patient(f"pt_{index}", made.grid, made.ct_hu, {}, None, None)


@pytest.fixture(scope="module", params=[(SITE, head), (sites.PROSTATE, pelvis)])
def trained(request):
    """What is said of three generated patients, and these: HU and grid."""
    site, make = request.param
    patients = [make(index) for index in range(3)]
    found = training_data.describe(make_split(patients, site))
    return found, [(p.ct - np.float32(site.ct_offset_hu), p.grid) for p in patients]


def test_training_patients_are_like_themselves(trained):
    found, patients = trained
    for hu, grid in patients:
        assert training_data.differences(found, hu, grid, "") == []


def finer(grid, factor):
    """The same extent in smaller pixels."""
    z, y, x = grid.shape
    slice_mm, *pixel_mm = grid.spacing_mm
    shape = (z, round(y * factor), round(x * factor))
    spacing = (slice_mm, *(one / factor for one in pixel_mm))
    return dataclasses.replace(grid, shape=shape, spacing_mm=spacing)


def spaced(grid, factor):
    """The same length in slices that are further apart."""
    slice_mm, *pixel_mm = grid.spacing_mm
    shape = (round(grid.shape[0] / factor), *grid.shape[1:])
    return dataclasses.replace(
        grid, shape=shape, spacing_mm=(slice_mm * factor, *pixel_mm)
    )


def reshaped(grid, **factors):
    """More or fewer voxels of the same size."""
    shape = [
        round(size * factors.get(axis, 1))
        for axis, size in zip("zyx", grid.shape, strict=True)
    ]
    return dataclasses.replace(grid, shape=tuple(shape))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda grid: finer(grid, 3.0), "pixels are"),
        (lambda grid: finer(grid, 0.5), "pixels are"),
        (lambda grid: spaced(grid, 2.5), "apart"),
        (lambda grid: spaced(grid, 0.4), "apart"),
        (lambda grid: reshaped(grid, y=0.5, x=0.5), "smaller than in training"),
        (lambda grid: reshaped(grid, x=2.5), "larger than in training"),
        (lambda grid: reshaped(grid, z=4), "mm long"),
        (lambda grid: reshaped(grid, z=0.2), ""),  # fewer slices of the same
    ],
)
def test_each_odd_grid_has_its_warning(trained, change, words):
    found, patients = trained
    hu, grid = patients[0]
    told = training_data.differences(found, hu, change(grid), "")
    assert len(told) == bool(words)
    assert all(words in one for one in told)


def all_metal(hu):
    return np.where(hu > -500, hu + 3000, hu)


def painted(hu):
    """The air of a body that was cut out, set to 0."""
    return np.where(hu > -500, hu, 0.0)


def cropped(hu):
    """A box inside the body, where no air is left."""
    middle = [slice(size * 45 // 100, size * 55 // 100) for size in hu.shape]
    box = hu[tuple(middle)]
    return np.where(box < -500, -100, box)  # where the body has air inside


def normalised(hu):
    return (hu - hu.mean()) / hu.std()


def grey(hu):
    return np.rint(np.clip((hu + 160) / 400, 0, 1) * 255)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hu: hu + 1024, "1024 too high"),
        (lambda hu: hu + 1000, "1024 too high"),
        (lambda hu: hu - 1024, "1024 too low"),
        (lambda hu: (hu + 1000) / 4000, "scaled"),
        (normalised, "scaled"),
        (grey, "grey levels"),
        (lambda hu: np.full_like(hu, 3071.0), "from 3.07e+03 to 3.07e+03"),
        (all_metal, "has a median of"),
        (lambda hu: np.where(hu > -500, hu * 8, hu), "has a median of"),
        (lambda hu: hu * 0.25, "in training"),
        (painted, "has no air"),
        (cropped, "has no air"),
        (lambda hu: np.maximum(all_metal(hu), 2000 + hu), "has a median of"),
        (lambda hu: np.minimum(hu, -600), "almost no voxel"),
        (lambda hu: hu + 30, ""),  # another scanner's soft tissue
        (lambda hu: np.where(hu < -900, -1024, hu), ""),  # no noise in its air
    ],
)
def test_each_odd_value_has_its_warning(trained, change, words):
    found, patients = trained
    hu, grid = patients[0]
    told = training_data.differences(found, change(hu).astype(np.float32), grid, "")
    assert len(told) == bool(words), told
    assert all(words in one for one in told), told


def test_the_body_part_is_told_in_our_own_words(trained):
    found, patients = trained
    other = {"openkbp": "PELVIS", "prostate": "HEADNECK"}[found["site"]]
    own = {"openkbp": "HEAD", "prostate": "PROSTATE"}[found["site"]]
    hu, grid = patients[0]
    for written in ("", own, "WHOLEBODY", "Doe^Jane"):
        assert training_data.differences(found, hu, grid, written) == []
    (told,) = training_data.differences(found, hu, grid, other)
    assert found["body_part"] in told
    assert other not in told
    assert training_data.differences(found | {"body_part": None}, hu, grid, other) == []
