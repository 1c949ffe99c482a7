"""What was exported, read back by our reader: the same voxels, and the same dose."""

import numpy as np
import pytest

from mtl_jax.core import contour_geometry
from mtl_jax.export import rtdose
from mtl_jax.predict import cases, output_files, patient_loop, trained_model
from mtl_jax.run import workdir
from mtl_jax.sources.dicom import headers, reader, rtstruct
from mtl_jax.sources.dicom import rtdose as dicom_rtdose
from tests.predict import checkpoints
from tfds_builders.prostate import make_dummy_data

READING = cases.ReadingOptions(reader.Options(), {})


@pytest.fixture
def make_request(network, tmp_path):
    """`make_request(role, site, ...)`: a Request."""

    def make(role="multi", site="prostate", *, contours=None, **formats):
        chosen = {"dicom": False, "nifti": False, "plan": None} | formats
        return patient_loop.Request(
            network(role, site).model,
            tmp_path / "out",
            READING,
            contours,
            None,
            output_files.Formats(**chosen),
        )

    return make


def predict(request, network, folder):
    """The files of the patient in `folder`, and what the network said."""
    (case_folder,) = cases.find([folder], request.out)
    warnings = []
    basis = request.basis(case_folder)
    patient_loop.predict_patient(request, case_folder, basis, network, warnings.append)
    case = cases.read(case_folder, request.model, request.reading, request.contours)
    found = trained_model.predict(network, case.patient)
    shown = found.cleaned_up(case.patient, request.model.rules)
    return request.folder(case_folder), case, shown


def read_back(folder, case):
    """Masks by TG-263 name, and the dose, on the CT's grid."""
    files = headers.scan(folder)
    masks = {}
    for file in files.structure_sets:
        for roi in rtstruct.read(file).rois:
            assert roi.frame_uid == case.reference.header.FrameOfReferenceUID
            masks[roi.name], told = contour_geometry.to_mask(
                roi.contours, case.patient.grid
            )
            assert not told
    doses = [dicom_rtdose.read(file) for file in files.doses]
    return masks, [dicom_rtdose.onto(dose, case.patient.grid) for dose in doses]


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
def test_voxel_for_voxel_in_all_positions(make_request, network, scan, position):
    request, ready = make_request(), network("multi", "prostate")
    assert make_dummy_data.GRID.spacing_mm == (5.0, 4.0, 3.0)  # no square pixels
    folder, case, shown = predict(request, ready, scan(position=position))
    assert case.patient.grid.shape == make_dummy_data.GRID.shape
    masks, doses = read_back(folder, case)
    assert set(masks) == set(shown.contours)
    for name, mask in shown.contours.items():
        np.testing.assert_array_equal(masks[name], mask)
    assert any(0 < mask.mean() < 1 for mask in masks.values())
    ((dose_gy, known),) = doses
    assert known.all()
    assert shown.dose_gy.max() > 1
    half_a_step = rtdose.quantum_gy(shown.dose_gy) / 2 + 1e-6
    np.testing.assert_allclose(dose_gy, shown.dose_gy, rtol=0, atol=half_a_step)


def test_positions_make_no_difference(make_request, network, scan):
    request, ready = make_request(), network("multi", "prostate")
    first, *others = (
        predict(request, ready, scan(position, position))[2]
        for position in ("HFS", "HFP", "FFS", "FFP")
    )
    for other in others:
        np.testing.assert_array_equal(other.dose_gy, first.dose_gy)
        for name, mask in other.contours.items():
            np.testing.assert_array_equal(mask, first.contours[name])


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("multi", {"RS.dcm", "RD.dcm"}),
        ("hps", {"RS.dcm", "RD.dcm"}),
        ("mtan", {"RS.dcm", "RD.dcm"}),
        ("contour", {"RS.dcm"}),
        ("baseline", {"RD.dcm"}),
        ("seq_auto", {"RD.dcm"}),
        ("seq_human", {"RD.dcm"}),
        ("informed", {"RD.dcm"}),
    ],
)
def test_a_role_exports_only_what_it_predicts(
    make_request, network, scan, role, expected
):
    needs = role in ("seq_human", "informed")
    request = make_request(role, contours=cases.AUTO if needs else None, nifti=True)
    folder, _, shown = predict(request, network(role, "prostate"), scan())
    nifti = {f"{name}.nii.gz" for name in shown.contours}
    if shown.dose_gy is not None:
        nifti.add("dose.nii.gz")
    names = {path.name for path in folder.iterdir()}
    assert names == expected | nifti | {"preview.png", "statistics.json"}


def test_where_nothing_is_found_there_is_no_structure_set(tmp_path, scan):
    home = checkpoints.write(tmp_path / "m", "multi", "prostate", contour_threshold=1.0)
    model = trained_model.describe(home)
    formats = output_files.Formats(dicom=False, nifti=False, plan=None)
    request = patient_loop.Request(
        model, tmp_path / "out", READING, None, None, formats
    )
    folder, _, shown = predict(request, trained_model.load(model), scan())
    assert not any(mask.any() for mask in shown.contours.values())
    assert not headers.scan(folder).structure_sets
    statistics = workdir.read_json(folder / "statistics.json")
    assert statistics["export"][: len(model.site.contoured)] == [
        f"{name} is empty, and not in RS.dcm" for name in model.site.contoured
    ]
    for one in statistics["structures"].values():
        assert one["volume_cc"] == 0 and one["dose"] == {}
