"""What was exported, read back by our reader: the same voxels, and the same dose."""

import numpy as np
import pytest

from mtl_jax.core import contour_geometry
from mtl_jax.export import rtdose
from mtl_jax.predict import (
    cases,
    inputs,
    output_files,
    patient_job,
    predictor,
    trained_model,
)
from mtl_jax.run import workdir
from mtl_jax.sources.dicom import headers, reader, rtstruct
from mtl_jax.sources.dicom import rtdose as dicom_rtdose
from tests.predict import checkpoints
from tfds_builders.prostate import make_dummy_data

HOW = cases.How(reader.Options(), {})


@pytest.fixture
def order(network, tmp_path):
    """`order(role, site, ...)`: what is asked for."""

    def make(role="multi", site="prostate", *, contours=None, **formats):
        chosen = {"dicom": False, "nifti": False, "plan": None} | formats
        return patient_job.Order(
            network(role, site).about,
            tmp_path / "out",
            HOW,
            contours,
            None,
            output_files.Formats(**chosen),
        )

    return make


def deliver(order, network, folder):
    """The files of the patient in `folder`, and what the network said."""
    (one,) = inputs.find([folder], order.out)
    told = []
    patient_job.deliver(order, one, order.basis(one), network, told.append)
    case = cases.read(one, order.about, order.how, order.contours)
    found = predictor.predict(network, case.patient)
    shown = found.as_configured(case.patient, order.about.rules)
    return order.folder(one), case, shown


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
def test_voxel_for_voxel_in_all_positions(order, network, scan, position):
    asked, ready = order(), network("multi", "prostate")
    assert make_dummy_data.GRID.spacing_mm == (5.0, 4.0, 3.0)  # no square pixels
    folder, case, shown = deliver(asked, ready, scan(position=position))
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


def test_positions_make_no_difference(order, network, scan):
    asked, ready = order(), network("multi", "prostate")
    first, *others = (
        deliver(asked, ready, scan(position, position))[2]
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
def test_a_role_exports_only_what_it_predicts(order, network, scan, role, expected):
    needs = role in ("seq_human", "informed")
    asked = order(role, contours=cases.AUTO if needs else None, nifti=True)
    folder, _, shown = deliver(asked, network(role, "prostate"), scan())
    nifti = {f"{name}.nii.gz" for name in shown.contours}
    if shown.dose_gy is not None:
        nifti.add("dose.nii.gz")
    names = {path.name for path in folder.iterdir()}
    assert names == expected | nifti | {"preview.png", "statistics.json"}


def test_where_nothing_is_found_rois_are_empty(tmp_path, scan):
    home = checkpoints.write(tmp_path / "m", "multi", "prostate", contour_threshold=1.0)
    about = trained_model.describe(home)
    formats = output_files.Formats(dicom=False, nifti=False, plan=None)
    asked = patient_job.Order(about, tmp_path / "out", HOW, None, None, formats)
    folder, _, shown = deliver(asked, trained_model.load(about), scan())
    assert not any(mask.any() for mask in shown.contours.values())
    (file,) = headers.scan(folder).structure_sets
    rois = rtstruct.read(file).rois
    assert [roi.name for roi in rois] == list(about.site.contoured)
    assert not any(roi.contours for roi in rois)
    statistics = workdir.read_json(folder / "statistics.json")
    for one in statistics["structures"].values():
        assert one["volume_cc"] == 0 and one["dose"] == {}
