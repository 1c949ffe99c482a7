"""References to a CT: its images in order, and only the listed attributes."""

import numpy as np
import pydicom
import pytest
from pydicom import uid

from mtl_jax.core import errors, geometry
from mtl_jax.export import ct_images, ct_reference, rtdose, rtstruct
from tests.export import exported

HEIGHTS = [100, 105, 110, 115]  # of exported.GRID


@pytest.mark.parametrize("position", exported.POSITIONS)
def test_images_are_in_the_order_of_slices_in_every_position(tmp_path, position):
    _, paths = exported.write_ct(tmp_path / "ct", position=position)
    made = exported.reference(tmp_path / "ct")
    headers = [pydicom.dcmread(path) for path in paths]
    by_height = {h.ImagePositionPatient[2]: h.SOPInstanceUID for h in headers}
    assert made.images == tuple(by_height[z] for z in HEIGHTS)
    assert not made.invented
    assert made.header.FrameOfReferenceUID == headers[0].FrameOfReferenceUID


# Written into the CT; must not be in any exported file.
SECRETS = {
    "InstitutionName": "Milliways",
    "InstitutionAddress": "Ursa Minor Beta",
    "ReferringPhysicianName": "Halfrunt^Gag",
    "PerformingPhysicianName": "Vogon^Jeltz",
    "OperatorsName": "Marvin^Android",
    "PatientComments": "paranoid",
    "PatientAddress": "Lamuella",
    "OtherPatientIDs": "QX778123",
    "ImageComments": "forty-two",
    "StudyDescription": "towel study",
    "SeriesDescription": "towel series",
    "ProtocolName": "dolphin protocol",
    "StationName": "deepthought",
    "DeviceSerialNumber": "sn-4242",
}
COPIED = {
    "PatientName": "Dent^Arthur",
    "PatientID": "ID-77",
    "PatientBirthDate": "19520311",
    "PatientSex": "M",
    "StudyDate": "20190911",
    "StudyTime": "101112",
    "StudyID": "ST-5",
    "AccessionNumber": "ACC-9",
}


def test_only_listed_attributes_are_copied_from_the_ct(tmp_path):
    _, paths = exported.write_ct(tmp_path / "ct")
    for path in paths:
        changed = pydicom.dcmread(path)
        for keyword, value in (SECRETS | COPIED).items():
            setattr(changed, keyword, value)
        block = changed.private_block(0x0041, "prefect private", create=True)
        block.add_new(0x01, "LO", "private secret")
        changed.RequestAttributesSequence = [pydicom.Dataset()]
        changed.RequestAttributesSequence[0].RequestedProcedureID = "slartibart"
        changed.save_as(path)
    made = exported.reference(tmp_path / "ct")
    read = {*ct_reference.HEADER, ct_reference.IMAGE, ct_reference.POSITION}
    assert set(made.header.dir()) <= read
    # Even of a header with other attributes, only the listed ones are copied.
    full = ct_reference.CtReference(made.grid, pydicom.dcmread(paths[0]), made.images)
    masks = exported.some_masks(exported.GRID)
    options = {"author": exported.AUTHOR, "created": exported.CREATED}
    for number, reference in enumerate((made, full)):
        contours = tmp_path / f"out{number}" / "contours.dcm"
        dose = tmp_path / f"out{number}" / "dose.dcm"
        rtstruct.write(contours, masks, reference, site=exported.SITE, **options)
        rtdose.write(
            dose, np.ones(exported.GRID.shape, np.float32), reference, **options
        )
        secrets = [*SECRETS.values(), "prefect", "private secret", "slartibart"]
        for path in (contours, dose):
            content = path.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in content]
            dicom = pydicom.dcmread(path)
            assert {name: str(dicom[name].value) for name in COPIED} == COPIED
            assert dicom.ReferringPhysicianName == dicom.OperatorsName == ""
            for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
                assert dicom[keyword].value == made.header[keyword].value
            assert dicom.SeriesInstanceUID != made.header.SeriesInstanceUID


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (None, "Gomez^Jorge"),
        ("ISO_IR 100", "Núñez^Jörg"),
        ("ISO_IR 192", "Núñez^Jörg=山田^太郎"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_keep_their_characters(tmp_path, characters, name):
    _, paths = exported.write_ct(tmp_path / "ct")
    for path in paths:
        changes = {"SpecificCharacterSet": characters} if characters else {}
        exported.change(path, **changes, PatientName=name)
    reference = exported.reference(tmp_path / "ct")
    path = tmp_path / "contours.dcm"
    masks = exported.some_masks(exported.GRID)
    rtstruct.write(
        path,
        masks,
        reference,
        site=exported.SITE,
        author=exported.AUTHOR,
        created=exported.CREATED,
    )
    dicom = pydicom.dcmread(path)
    assert str(dicom.PatientName) == name
    assert dicom.ROIContourSequence[0].ContourSequence[0].NumberOfContourPoints > 3


def test_a_name_in_undeclared_characters_keeps_its_bytes(tmp_path):
    _, paths = exported.write_ct(tmp_path / "ct")
    old, new = b"Phantom^PT", "Jörgen^Núñ".encode("latin-1")
    for path in paths:
        content = path.read_bytes()
        assert old in content and len(old) == len(new)
        path.write_bytes(content.replace(old, new))
    path = tmp_path / "dose.dcm"
    rtdose.write(
        path,
        np.ones(exported.GRID.shape, np.float32),
        exported.reference(tmp_path / "ct"),
        author=exported.AUTHOR,
        created=exported.CREATED,
    )
    assert new in path.read_bytes()


def test_files_in_another_order_are_refused(tmp_path):
    exported.write_ct(tmp_path / "Jane-Doe")
    ct = exported.read_ct(tmp_path / "Jane-Doe")
    paths = [file.path for file in ct.files]
    with pytest.raises(errors.SourceError, match="slice 1 from the feet lies at z 115"):
        ct_reference.read(paths[::-1], ct.grid)
    with pytest.raises(errors.GeometryError, match="3 images for 4 slices"):
        ct_reference.read(paths[:-1], ct.grid)
    (tmp_path / "Jane-Doe" / "gone.dcm").write_bytes(b"")
    broken = [*paths[:-1], tmp_path / "Jane-Doe" / "nowhere.dcm"]
    with pytest.raises(
        errors.SourceError, match=r"slice 4 .* cannot be read"
    ) as refused:
        ct_reference.read(broken, ct.grid)
    assert "Jane" not in str(refused.value)


@pytest.mark.parametrize(
    "keyword", ["FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID"]
)
def test_missing_and_inconsistent_identifiers_are_refused(tmp_path, keyword):
    exported.write_ct(tmp_path / "ct")
    ct = exported.read_ct(tmp_path / "ct")
    paths = [file.path for file in ct.files]
    exported.change(paths[2], **{keyword: "1.2.3"})
    with pytest.raises(errors.SourceError, match=f"slice 3 .* the first in {keyword}"):
        ct_reference.read(paths, ct.grid)
    exported.change(paths[2], **{keyword: None})
    with pytest.raises(errors.SourceError, match=f"slice 3 .* has no {keyword}"):
        ct_reference.read(paths, ct.grid)


def test_an_invented_reference_follows_from_id_and_grid():
    made = ct_reference.invented(exported.GRID, patient_id="pt_1")
    again = ct_reference.invented(exported.GRID, patient_id="pt_1")
    assert made == again and made.invented
    assert made.header.PatientID == "pt_1"
    assert "INVENTED" in made.header.PositionReferenceIndicator
    uids = [made.header.FrameOfReferenceUID, made.header.StudyInstanceUID]
    uids += [made.header.SeriesInstanceUID, *made.images]
    assert len(set(uids)) == 3 + 4 and all(uid.UID(value).is_valid for value in uids)
    other = ct_reference.invented(exported.GRID, patient_id="pt_2")
    moved = geometry.Grid(exported.GRID.shape, exported.GRID.spacing_mm)
    assert not set(other.images) & set(made.images)
    moved_images = ct_reference.invented(moved, patient_id="pt_1").images
    assert not set(moved_images) & set(made.images)


@pytest.mark.parametrize("patient_id", ["", "a\\b", "pt^1", "x" * 49, "Jörg"])
def test_an_id_that_is_invalid_in_dicom_is_refused(patient_id):
    with pytest.raises(errors.RecordError, match="patient's id for DICOM has 1 to 48"):
        ct_reference.invented(exported.GRID, patient_id=patient_id)


def test_a_turned_grid_is_refused():
    turned = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))
    grid = geometry.Grid((1, 2, 3), (1.0, 1.0, 1.0), direction=turned)
    with pytest.raises(errors.GeometryError, match="grid is rotated"):
        ct_reference.CtReference(grid, pydicom.Dataset(), ("1.2",))


def test_an_openkbp_patients_ct_is_read_back_from_its_images(tmp_path):
    made = ct_reference.invented(exported.ODD, patient_id="pt_1")
    hu = np.random.default_rng(2).integers(-1024, 31700, exported.ODD.shape)
    hu = hu.astype(np.float32)
    ct_images.write(tmp_path / "ct", hu, made)
    ct = exported.read_ct(tmp_path / "ct")
    assert np.array_equal(ct.hu, hu)
    np.testing.assert_allclose(ct.grid.affine, exported.ODD.affine, atol=1e-6)
    back = exported.reference(tmp_path / "ct")
    assert back.images == made.images and back.invented
    assert ct.files[0].path.name == "CT.0001.dcm"
    first = pydicom.dcmread(ct.files[0].path)
    assert first.SeriesDescription == "OpenKBP CT, frame of reference is invented"
    # Values are rounded to integer HU and clipped to what 16 bits hold.
    odd = np.resize(np.float32([-3024, 0.6, 1e6]), hu.shape)
    ct_images.write(tmp_path / "odd", odd, made)
    stored = exported.read_ct(tmp_path / "odd").hu
    assert stored.reshape(-1)[:3].tolist() == [-1024, 1, 65535 - 1024]


def test_images_are_only_written_for_an_invented_reference(tmp_path):
    hu, _ = exported.write_ct(tmp_path / "ct")
    made = exported.reference(tmp_path / "ct")
    with pytest.raises(errors.RecordError, match="has images of its own"):
        ct_images.write(tmp_path / "new", hu, made)
    invented = ct_reference.invented(exported.GRID, patient_id="pt_1")
    with pytest.raises(errors.GeometryError, match=r"the CT is \(2, 5, 6\)"):
        ct_images.write(tmp_path / "new", hu[:2], invented)
    hu[1, 2, 3] = np.nan
    with pytest.raises(errors.RecordError, match="NaN or infinite"):
        ct_images.write(tmp_path / "new", hu, invented)
    assert not (tmp_path / "new").exists()
