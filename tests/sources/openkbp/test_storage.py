"""Folders and archives of patients: complete, damaged, repeated, or elsewhere."""

import io
import pathlib
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from mtl_jax.core import errors
from mtl_jax.sources.openkbp import provided_data, storage
from tfds_builders.openkbp import make_dummy_data

DUMMY = make_dummy_data.FOLDER / "provided-data"
PACKINGS = [".tar.xz", ".tar.gz", ".zip"]


def members(prefix: str, split: str = "*") -> list[tuple[str, bytes]]:
    """Name and content of each file, in the order in which names sort."""
    return [
        (prefix + path.relative_to(DUMMY).as_posix(), path.read_bytes())
        for path in sorted(DUMMY.glob(f"{split}-pats/*/*.csv"))
    ]


def pack(archive: pathlib.Path, files: list[tuple[str, bytes]]) -> pathlib.Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
            for name, content in files:
                target.writestr(name, content)
        return archive
    with tarfile.open(archive, f"w:{archive.suffix[1:]}") as target:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return archive


@pytest.mark.parametrize(
    "inside", ["", "provided-data", "open-kbp-ce625e6/provided-data"]
)
def test_a_folder_is_found_where_it_was_unpacked(tmp_path: pathlib.Path, inside: str):
    shutil.copytree(DUMMY, tmp_path / inside, dirs_exist_ok=True)
    (tmp_path / "LICENSE").write_text("MIT")
    with provided_data.open_source(tmp_path) as source:
        # Natural order: pt_2 before pt_10.
        assert source.patients == make_dummy_data.PATIENTS
        assert "2 train, 1 validation, 2 test patients" in source.description
        assert source.contoured("test", "pt_242") == (
            "Brainstem",
            "SpinalCord",
            "RightParotid",
            "Larynx",
            "PTV70",
        )


def test_both_names_of_the_validation_folder_are_read(tmp_path: pathlib.Path):
    shutil.copytree(DUMMY, tmp_path, dirs_exist_ok=True)
    (tmp_path / "validation-pats").rename(tmp_path / "valid-pats")
    with provided_data.open_source(tmp_path) as source:
        assert source.patients["validation"] == ("pt_201",)


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("parts", [("*",), ("train", "validation", "test")])
def test_archives_and_the_folder_give_the_same_patients(tmp_path, suffix, parts):
    for number, part in enumerate(parts):
        pack(tmp_path / f"{number}{suffix}", members("open-kbp/provided-data/", part))
    with (
        provided_data.open_source(DUMMY) as folder,
        provided_data.open_source(tmp_path) as packed,
    ):
        assert packed.patients == folder.patients
        for split, ids in folder.patients.items():
            for patient_id in reversed(ids):  # any order
                expected = folder.read(split, patient_id)
                result = packed.read(split, patient_id)
                np.testing.assert_array_equal(result.ct, expected.ct)
                np.testing.assert_array_equal(result.dose_gy, expected.dose_gy)
                assert list(result.structures) == list(expected.structures)


def test_the_fingerprint_follows_from_the_content(tmp_path: pathlib.Path):
    one, two, three = tmp_path / "1", tmp_path / "2/provided-data", tmp_path / "3"
    for folder in (one, two, three):
        shutil.copytree(DUMMY, folder)
    (one / "validation-pats").rename(one / "valid-pats")
    ct = three / "train-pats/pt_2/ct.csv"
    text = ct.read_text().split("\n")
    text[1] = text[1].split(",")[0] + ",999.0"
    ct.write_text("\n".join(text))
    first, same, other = (
        provided_data.open_source(folder).fingerprint
        for folder in (one, tmp_path / "2", three)
    )
    assert first == same
    assert first != other
    archive = pack(tmp_path / "4" / "a.zip", members(""))
    packed = provided_data.open_source(archive.parent).fingerprint
    archive.rename(archive.with_name("b.zip"))
    assert provided_data.open_source(archive.parent).fingerprint == packed


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("kept", [0, 3, 0.3, 0.9, 0.999])
def test_an_archive_that_is_cut_off_is_named(tmp_path, suffix, kept):
    archive = pack(tmp_path / f"data{suffix}", members("provided-data/"))
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with pytest.raises(errors.SourceError, match=rf"data\{suffix} (is damaged|begins)"):
        provided_data.open_source(tmp_path)


@pytest.mark.parametrize("whole", [0.5, 1])
def test_a_tar_that_was_cut_off_before_it_was_packed(tmp_path, whole):
    """Such a gzip is intact, and Python's tarfile takes the cut for the end."""
    import gzip

    archive = pack(tmp_path / "data.tar.gz", members("provided-data/"))
    tar = gzip.decompress(archive.read_bytes()).rstrip(b"\0")
    cut = int(len(tar) * whole) // 512 * 512
    archive.write_bytes(gzip.compress(tar[:cut]))
    with pytest.raises(errors.SourceError, match=r"data\.tar\.gz is damaged"):
        provided_data.open_source(tmp_path)


def test_a_flipped_bit_in_a_zip_is_named(tmp_path: pathlib.Path):
    archive = pack(tmp_path / "data.zip", members("provided-data/"))
    content = bytearray(archive.read_bytes())
    start = content.index(b"train-pats/pt_2/ct.csv") + 200
    content[start] ^= 4
    archive.write_bytes(bytes(content))
    with (
        provided_data.open_source(tmp_path) as source,
        pytest.raises(
            errors.SourceError, match=r"data\.zip/provided-data/train-pats/pt_2/ct\.csv"
        ),
    ):
        source.read("train", "pt_2")


def test_a_download_page_is_refused_as_archive(tmp_path: pathlib.Path):
    (tmp_path / "data.zip").write_text("<html>Please log in</html>")
    with pytest.raises(errors.SourceError, match=r"data\.zip begins with b'<html>'"):
        provided_data.open_source(tmp_path)


def test_an_archive_without_patients_is_named(tmp_path: pathlib.Path):
    pack(tmp_path / "other.zip", [("readme.txt", b"hello")])
    with pytest.raises(errors.SourceError, match=r"^other\.zip holds no patients"):
        provided_data.open_source(tmp_path)


@pytest.mark.parametrize("suffix", PACKINGS)
def test_nothing_is_written_by_the_names_in_an_archive(tmp_path, suffix):
    files = [*members("provided-data/"), *members("../../escaped/", "train")]
    files[-1:] = [("/escaped/train-pats/pt_9/ct.csv", b",data\n5,1.0\n")]
    pack(tmp_path / "in" / "manual" / f"data{suffix}", files)
    with pytest.raises(errors.SourceError, match="pt_10 appears twice"):
        provided_data.open_source(tmp_path / "in" / "manual")
    assert [path.name for path in tmp_path.rglob("*")] == [
        "in",
        "manual",
        f"data{suffix}",
    ]


def test_links_in_an_archive_are_not_followed(tmp_path: pathlib.Path):
    archive = tmp_path / "data.tar.gz"
    with tarfile.open(archive, "w:gz") as target:
        link = tarfile.TarInfo("train-pats/pt_1/ct.csv")
        link.type, link.linkname = tarfile.SYMTYPE, str(DUMMY / "x")
        target.addfile(link)
        for name in ("dose", "possible_dose_mask", "voxel_dimensions"):
            target.addfile(tarfile.TarInfo(f"train-pats/pt_1/{name}.csv"))
    with pytest.raises(errors.SourceError, match=r"pt_1/ct\.csv is missing"):
        provided_data.open_source(tmp_path)


def test_a_file_too_large_for_the_challenge_is_not_read(tmp_path: pathlib.Path):
    huge = bytes((64 << 20) + 1)
    pack(tmp_path / "data.zip", [("train-pats/pt_1/ct.csv", huge)])
    with pytest.raises(errors.SourceError, match="67108865 bytes, more than a CSV"):
        provided_data.open_source(tmp_path)


def test_what_macos_adds_to_a_zip_is_left_out(tmp_path: pathlib.Path):
    extra = [
        ("__MACOSX/provided-data/train-pats/pt_2/._ct.csv", b"\0"),
        ("provided-data/train-pats/.DS_Store", b"\0"),
    ]
    pack(tmp_path / "data.zip", [*members("provided-data/"), *extra])
    with provided_data.open_source(tmp_path) as source:
        assert source.patients == make_dummy_data.PATIENTS


def test_a_patient_in_two_splits_is_named(tmp_path: pathlib.Path):
    shutil.copytree(DUMMY, tmp_path / "provided-data")
    shutil.copytree(
        DUMMY / "train-pats/pt_2", tmp_path / "provided-data/test-pats/pt_2"
    )
    message = (
        "pt_2 appears twice: provided-data/t[a-z]+-pats/pt_2 and provided-data/.*"
        "belongs to one split"
    )
    with pytest.raises(errors.SourceError, match=message):
        provided_data.open_source(tmp_path)


def test_a_patient_in_two_archives_is_named(tmp_path: pathlib.Path):
    pack(tmp_path / "a.zip", members("", "train"))
    pack(tmp_path / "b.tar.xz", members("", "train"))
    message = r"pt_10 appears twice: a\.zip/train-pats/pt_10 and b\.tar\.xz/train-pats"
    with pytest.raises(errors.SourceError, match=message):
        provided_data.open_source(tmp_path)


def test_a_folder_beside_an_archive_is_refused(tmp_path: pathlib.Path):
    shutil.copytree(DUMMY, tmp_path / "provided-data")
    pack(tmp_path / "a.zip", members("provided-data/"))
    with pytest.raises(errors.SourceError, match=r"more than one source.*a\.zip; keep"):
        provided_data.open_source(tmp_path)


def test_a_patient_without_files_is_named(tmp_path: pathlib.Path):
    shutil.copytree(DUMMY, tmp_path, dirs_exist_ok=True)
    (tmp_path / "train-pats/pt_3").mkdir()
    with pytest.raises(errors.SourceError, match=r"train-pats/pt_3/ct\.csv is missing"):
        provided_data.open_source(tmp_path)


def test_a_folder_without_patients_says_what_to_put_there(tmp_path: pathlib.Path):
    assert provided_data.locate(tmp_path) is None
    with pytest.raises(errors.SourceError, match=r"is empty; put the challenge's data"):
        provided_data.open_source(tmp_path)
    (tmp_path / "pt_1").mkdir()
    with pytest.raises(errors.SourceError, match=r"no patients \(found: pt_1\); put"):
        provided_data.open_source(tmp_path)
    with pytest.raises(errors.SourceError, match="is not a folder; put"):
        provided_data.open_source(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".tar.xz", ".tar.gz"])
def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch, suffix):
    """Zeros, which compress a thousand times, do not fill the disk."""
    limit = 4 << 20
    monkeypatch.setattr(storage, "SMALL_TAR_BYTES", limit)
    pack(tmp_path / f"data{suffix}", [("train-pats/pt_1/ct.csv", bytes(limit))])
    written = []
    write = storage._spool_write
    monkeypatch.setattr(
        storage,
        "_spool_write",
        lambda spool, chunk, label: (
            written.append(len(chunk)) or write(spool, chunk, label)
        ),
    )
    message = rf"data\{suffix} has \d+ bytes and unpacks to more than {limit}"
    with pytest.raises(errors.SourceError, match=message):
        provided_data.open_source(tmp_path)
    assert sum(written) <= limit
    # The patients themselves stay far below the limit.
    (tmp_path / f"data{suffix}").unlink()
    packed = pack(tmp_path / f"data{suffix}", members("")).stat().st_size
    total = sum(len(content) for _, content in members(""))
    assert total < storage.MAX_PACKING * packed
    with provided_data.open_source(tmp_path) as source:
        assert source.patients == make_dummy_data.PATIENTS


def test_a_zip_that_understates_a_file_is_damaged(tmp_path: pathlib.Path):
    """Only the stated size is read, and the checksum then shows the error."""
    name = "provided-data/train-pats/pt_2/ct.csv"
    path = pack(tmp_path / "data.zip", members("provided-data/"))
    content = bytearray(path.read_bytes())
    header, entry = content.index(name.encode()), content.rindex(name.encode())
    # A zip states the size 8 bytes before a name, and 22 before a name in its index.
    whole = len(dict(members("provided-data/"))[name])
    for offset in (header - 8, entry - 22):
        assert int.from_bytes(content[offset : offset + 4], "little") == whole
        content[offset : offset + 4] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    with provided_data.open_source(tmp_path) as source:
        source.read("train", "pt_10")
        with pytest.raises(errors.SourceError, match=r"pt_2/ct\.csv is damaged"):
            source.read("train", "pt_2")
