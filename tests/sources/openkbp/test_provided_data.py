"""The challenge's CSV files: worked by hand, written and read back, and refused."""

import dataclasses
import pathlib
import shutil

import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.sources.openkbp import patient_csv, provided_data
from tfds_builders.openkbp import make_dummy_data


def patient(without: tuple[str, ...] = ()):
    return make_dummy_data.patient("pt_7", seed=7, without=without)


def read(folder: pathlib.Path):
    with provided_data.open_source(folder) as source:
        return source.read("train", "pt_7")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("written")
    patient_csv.write_patient(patient(), folder / "provided-data/train-pats/pt_7")
    return folder


@pytest.fixture
def manual_dir(written: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path


def edit(manual_dir: pathlib.Path, name: str) -> pathlib.Path:
    return manual_dir / "provided-data/train-pats/pt_7" / f"{name}.csv"


def test_a_patient_worked_by_hand(tmp_path: pathlib.Path):
    folder = tmp_path / "train-pats" / "pt_7"
    folder.mkdir(parents=True)
    # Row 3 (to posterior), column 5 (to the left), slice 7 from the head.
    index = (3 * 128 + 5) * 128 + 7
    (folder / "ct.csv").write_text(f",data\n{index},1030.0\n{index + 1},2.0\n")
    (folder / "dose.csv").write_text(f",data\n{index},21.869\n{index + 1},0.0\n")
    (folder / "possible_dose_mask.csv").write_text(f",data\n{index},\n{index + 1},\n")
    (folder / "Larynx.csv").write_text(f",data\n{index},\n")
    (folder / "voxel_dimensions.csv").write_text("3.5\n4.5\n2.0\n")
    result = read(tmp_path)
    assert result.ct[120, 3, 5] == 1030  # 127 - 7 slices from the feet
    assert result.ct[119, 3, 5] == 2
    assert np.count_nonzero(result.ct) == 2
    assert result.dose_gy is not None
    assert result.dose_gy[120, 3, 5] == np.float32(21.869)
    assert np.argwhere(result.structures["Larynx"]).tolist() == [[120, 3, 5]]
    assert result.possible_dose_mask is not None
    assert np.argwhere(result.possible_dose_mask).tolist() == [[119, 3, 5], [120, 3, 5]]
    assert result.grid.spacing_mm == (2.0, 3.5, 4.5)  # z, y (rows), x (columns)


def test_a_patient_is_read_back_as_written(manual_dir: pathlib.Path):
    written, result = patient(), read(manual_dir)
    assert result.grid == written.grid
    np.testing.assert_array_equal(result.ct, written.ct)
    np.testing.assert_array_equal(result.dose_gy, written.dose_gy)
    np.testing.assert_array_equal(result.possible_dose_mask, written.possible_dose_mask)
    assert list(result.structures) == [
        name for name in patient_csv.SITE.names if name in written.structures
    ]
    for name, mask in result.structures.items():
        np.testing.assert_array_equal(mask, written.structures[name])


def test_a_dose_of_many_digits_is_read_back(tmp_path: pathlib.Path, rng):
    exact = patient()
    mask = exact.possible_dose_mask
    assert mask is not None
    dose_gy = np.where(mask, rng.uniform(0, 80, mask.shape), 0).astype(np.float32)
    exact = dataclasses.replace(exact, dose_gy=dose_gy)
    patient_csv.write_patient(exact, tmp_path / "train-pats" / "pt_7")
    np.testing.assert_array_equal(read(tmp_path).dose_gy, dose_gy)


def test_line_ends_of_windows_are_read(manual_dir: pathlib.Path):
    for path in edit(manual_dir, "ct").parent.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(read(manual_dir).ct, patient().ct)


def test_order_of_lines_does_not_matter(manual_dir: pathlib.Path):
    for name in ("ct", "dose", "Larynx"):
        header, *lines = edit(manual_dir, name).read_text().splitlines(keepends=True)
        edit(manual_dir, name).write_text(header + "".join(lines[::-1]))
    np.testing.assert_array_equal(read(manual_dir).ct, patient().ct)
    np.testing.assert_array_equal(read(manual_dir).dose_gy, patient().dose_gy)


REPLACED = [
    ("ct", "", "is empty"),
    ("ct", "\n\n", "is empty"),
    ("Larynx", "", "is empty"),
    ("Larynx", ",data\n", "lists no voxel"),
    ("ct", "index,data\n5,3.0\n", "begins with 'index,data'"),
    ("ct", "5,3.0\n6,3.0\n", "begins with '5,3.0'"),
    ("ct", ",data\n5,3.0\n6,3", "is cut off: its last line '6,3'"),
    ("ct", ",data\n5,3.0\n6,\n7,1.0\n", "line 3 is '6,'"),
    ("ct", ",data\n5,3.0\n6\n", "line 3 is '6'"),
    ("ct", ",data\n5,3.0\n\n6,1.0\n", "line 3 is ''"),
    ("ct", ",data\n5,3.0,2.0\n6\n", "line 2 is '5,3.0,2.0'"),
    ("ct", ",data\n5,three\n", "line 2 is '5,three'"),
    ("ct", ",data\nfive,3.0\n", "line 2 is 'five,3.0'"),
    ("ct", ",data\n5,3.0 4.0\n", "line 2 is '5,3.0 4.0'"),
    ("ct", ",data\n5,nan\n", "has nan at voxel 5, expected an integer"),
    ("ct", ",data\n5,3.5\n", "has 3.5 at voxel 5, expected an integer"),
    ("ct", ",data\n5,32768.0\n", "has 32768 at voxel 5"),
    ("ct", ",data\n2097152,1.0\n", "line 2 has index 2097152, expected an integer"),
    ("ct", ",data\n5,1.0\n-1,1.0\n", "line 3 has index -1"),
    ("ct", ",data\n5.5,1.0\n", "line 2 has index 5.5"),
    ("ct", ",data\nnan,1.0\n", "line 2 has index nan"),
    ("ct", ",data\n5,1.0\n4,1.0\n5,2.0\n", "lists voxel 5 more than once"),
    ("Larynx", ",data\n5,\n5,\n", "lists voxel 5 more than once"),
    ("Larynx", ",data\n5,1.0\n", "line 2 is '5,1.0', expected 'index,'"),
    ("Larynx", ",data\n5,\nx,\n", "line 3 is 'x,'"),
    ("Larynx", ",data\n5,\n6.0,\n", "line 3 is '6.0,'"),
    ("Larynx", ",data\n99999999999999999999,\n", "line 2 has index 9.22337203685e"),
    ("ct", ",data\n5,9e9\n", "has 9000000000 at voxel 5"),
    ("ct", ",data\n5,99999999999999999999.0\n", "has 9.22337203685e.18 at voxel 5"),
    ("dose", ",data\n5,nan\n", "has nan Gy at voxel 5"),
    ("dose", ",data\n5,inf\n", "has inf Gy at voxel 5"),
    ("dose", ",data\n5,-0.1\n", "has -0.1 Gy at voxel 5"),
    ("dose", ",data\n5,0.1\n", r"lists 1 voxels and .*possible_dose_mask\.csv 192"),
    ("voxel_dimensions", "", "holds '', expected three positive numbers"),
    ("voxel_dimensions", "3.9\n3.9\n", "expected three positive numbers"),
    ("voxel_dimensions", "3.9\n3.9\n-2\n", "expected three positive numbers"),
    ("voxel_dimensions", "3.9\n3.9\nnan\n", "expected three positive numbers"),
    ("voxel_dimensions", "3.9\n3.9\n2 mm\n", "expected three positive numbers"),
]


@pytest.mark.parametrize(("name", "text", "message"), REPLACED)
def test_a_bad_file_is_named(manual_dir: pathlib.Path, name, text, message):
    edit(manual_dir, name).write_text(text)
    where = rf"provided-data/train-pats/pt_7/{name}\.csv .*"
    with pytest.raises(errors.SourceError, match=f"^{where}{message}"):
        read(manual_dir)


@pytest.mark.parametrize("name", ["ct", "dose", "possible_dose_mask"])
def test_a_line_of_binary_data_is_named(manual_dir: pathlib.Path, name):
    edit(manual_dir, name).write_bytes(b",data\n\xff\xfe,\x00\n")
    with pytest.raises(errors.SourceError, match=rf"{name}\.csv line 2 is"):
        read(manual_dir)


@pytest.mark.parametrize(
    "name", ["ct", "dose", "possible_dose_mask", "voxel_dimensions"]
)
def test_a_missing_file_is_named_before_anything_is_read(manual_dir, name):
    edit(manual_dir, name).unlink()
    with pytest.raises(errors.SourceError, match=rf"pt_7/{name}\.csv is missing"):
        provided_data.open_source(manual_dir)


def test_a_file_of_unknown_name_is_refused(manual_dir: pathlib.Path):
    edit(manual_dir, "Larynx").rename(edit(manual_dir, "Larinx"))
    with pytest.raises(
        errors.SourceError, match=r"Larinx\.csv .* did you mean 'Larynx'"
    ):
        provided_data.open_source(manual_dir)


def test_a_dose_cut_off_at_a_line_end_is_refused(manual_dir: pathlib.Path):
    lines = edit(manual_dir, "dose").read_text().splitlines(keepends=True)
    edit(manual_dir, "dose").write_text("".join(lines[:-3]))
    with pytest.raises(errors.SourceError, match="lists 189 voxels"):
        read(manual_dir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dose_gy": None}, "needs 128 x 128 x 128 voxels, a dose"),
        ({"possible_dose_mask": None}, "a dose and a possible-dose mask"),
        ({"possible_dose_mask": np.zeros((128,) * 3, bool)}, "must cover the dose"),
        ({"ct": np.full((128,) * 3, 0.5, np.float32)}, "integers that fit int16"),
        ({"structures": {"Larynx": np.zeros((128,) * 3, bool)}}, "Larynx is empty"),
    ],
)
def test_a_patient_of_another_format_is_not_written(tmp_path, change, message):
    with pytest.raises(errors.SourceError, match=message):
        patient_csv.write_patient(
            dataclasses.replace(patient(), **change), tmp_path / "x"
        )
    assert not (tmp_path / "x").exists()


def test_a_real_patient_is_written_back_byte_for_byte(
    openkbp_sample: pathlib.Path, tmp_path: pathlib.Path
):
    archive = openkbp_sample / "openkbp-validation.tar.xz"
    with provided_data.archive(archive, origin=archive.name).open() as source:
        raw = source.raw("validation", "pt_201")
    patient_csv.write_patient(patient_csv.parse(raw), tmp_path)
    written = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == raw.files
