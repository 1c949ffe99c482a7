"""The DICOM files of a prediction: which are there, how they refer, what is told."""

import dataclasses
import types

import numpy as np
import pydicom
import pytest

from mtl_jax.core import records
from mtl_jax.predict import cases, dicom_files
from tests.export import exported

LONG = "Rectum_with_a_long_name"


@pytest.fixture
def case(tmp_path) -> cases.Case:
    """A case of which only what files refer to is there."""
    exported.write_ct(tmp_path / "ct")
    patient = types.SimpleNamespace(structures={})
    reference = exported.reference(tmp_path / "ct")
    return cases.Case(patient, reference, "", (), ("1.2.3",))  # pyright: ignore


@pytest.fixture
def write(tmp_path, case):
    """`write(masks, **options)`: the files by name, and the remarks."""
    structures = [
        dataclasses.replace(structure, tg263=LONG) if structure.name == "Rectum"
        else structure
        for structure in exported.SITE.structures
    ]  # fmt: skip
    site = dataclasses.replace(exported.SITE, structures=tuple(structures))
    model = types.SimpleNamespace(site=site, author=exported.AUTHOR)

    def write(masks, *, case=case, dose=True, **options):
        dose_gy = np.full(exported.GRID.shape, 60, np.float32) if dose else None
        prediction = records.PredictedVolumes(dose_gy, masks)
        folder = tmp_path / "out"
        chosen = dicom_files.Options(**options)
        remarks = dicom_files.write(folder, case, prediction, model, chosen)
        return {p.name: pydicom.dcmread(p) for p in folder.iterdir()}, remarks

    return write


def some_masks() -> dict[str, np.ndarray]:
    made = exported.some_masks(exported.GRID)
    return {name: made[name] for name in ("Rectum", "Bladder", "Prostate")}


def test_an_empty_structure_is_left_out_and_told(write):
    files, remarks = write(some_masks())
    assert set(files) == {"RS.dcm", "RD.dcm"}
    names = [roi.ROIName for roi in files["RS.dcm"].StructureSetROISequence]
    assert names == [LONG, "Prostate"]
    assert remarks == ["Bladder is empty, and not in RS.dcm"]


def test_nothing_drawn_gives_no_structure_set(write):
    empty = {"Bladder": np.zeros(exported.GRID.shape, bool)}
    files, remarks = write(empty, with_plan=True)
    assert set(files) == {"RD.dcm", "RP.dcm"}
    assert files["RP.dcm"].RTPlanGeometry == "TREATMENT_DEVICE"
    assert len(remarks) == 1


def test_long_names_are_cut_on_request_and_told(write):
    files, remarks = write(some_masks(), short_names=True)
    names = [roi.ROIName for roi in files["RS.dcm"].StructureSetROISequence]
    assert names == [LONG[:16], "Prostate"]
    assert f"{LONG} is called {LONG[:16]} in RS.dcm" in remarks


def test_the_plan_links_dose_and_contours(write, case):
    files, _ = write(some_masks(), with_plan=True)
    plan = files["RP.dcm"]
    (contours,) = plan.ReferencedStructureSetSequence
    assert contours.ReferencedSOPInstanceUID == files["RS.dcm"].SOPInstanceUID
    (referred,) = files["RD.dcm"].ReferencedRTPlanSequence
    assert referred.ReferencedSOPInstanceUID == plan.SOPInstanceUID


def test_a_dose_of_given_contours_is_linked_to_these(write, case):
    patient = types.SimpleNamespace(structures={"Rectum": None})
    given = dataclasses.replace(case, patient=patient)
    files, _ = write({}, case=given, with_plan=True)
    (contours,) = files["RP.dcm"].ReferencedStructureSetSequence
    assert contours.ReferencedSOPInstanceUID == "1.2.3"


def test_without_a_dose_there_is_no_plan(write):
    files, _ = write(some_masks(), dose=False, with_plan=True)
    assert set(files) == {"RS.dcm"}
