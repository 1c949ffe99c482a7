"""The public archive, served from this machine: fetched once, recorded, refused."""

import functools
import hashlib
import http.server
import pathlib
import shutil
import threading
from collections.abc import Iterator

import pytest
import tensorflow_datasets as tfds
from etils import epath
from tensorflow_datasets.core.download import checksums

from mtl_jax.core import errors
from mtl_jax.datasets import prepared
from tfds_builders.openkbp import make_dummy_data, openkbp_dataset_builder

Builder = openkbp_dataset_builder.Builder


class Handler(http.server.SimpleHTTPRequestHandler):
    requests: list[str]

    def log_message(self, format: str, *args: object) -> None:
        self.requests.append(self.command)


@pytest.fixture
def served(tmp_path: pathlib.Path, monkeypatch) -> Iterator[pathlib.Path]:
    """An archive as the public one is packed, which the builder finds on loopback."""
    top = tmp_path / "repository" / "open-kbp-ce625e6"
    shutil.copytree(make_dummy_data.FOLDER, top)
    folder = tmp_path / "served"
    archive = shutil.make_archive(str(folder / "ce625e6"), "zip", top.parent)
    Handler.requests = []
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/ce625e6.zip"
    monkeypatch.setenv(openkbp_dataset_builder.URL_VARIABLE, url)
    yield pathlib.Path(archive)
    server.shutdown()
    server.server_close()


def prepare(data_dir: pathlib.Path, cohort: str = "paper") -> prepared.Prepared:
    return prepared.prepare(
        Builder, cohort=cohort, data_dir=data_dir, manual_dir=None, workers=1
    )


def test_with_nothing_there_the_archive_is_downloaded_once(served, tmp_path):
    paper = prepare(tmp_path / "data")
    assert [e.patient_id for e in paper.splits["train"].patients] == ["pt_2", "pt_10"]
    assert "the archive http://127.0.0.1:" in paper.origin.description
    assert Handler.requests.count("GET") == 1
    prepare(tmp_path / "data")
    prepare(tmp_path / "data", "official")  # from the file that was downloaded
    # The usual folder counts as not given, though it is not there.
    usual = tmp_path / "data" / "downloads" / "manual"
    prepared.prepare(
        Builder, cohort="paper", data_dir=tmp_path / "data", manual_dir=usual, workers=1
    )
    assert Handler.requests.count("GET") == 1
    # The same archive in a manual_dir is the same source.
    manual = tmp_path / "manual"
    manual.mkdir()
    shutil.copy(served, manual / "renamed.zip")
    again = prepared.prepare(
        Builder,
        cohort="paper",
        data_dir=tmp_path / "data",
        manual_dir=manual,
        workers=1,
    )
    assert again.fingerprint == paper.fingerprint


def test_the_checksum_is_recorded_and_then_held(served, tmp_path, monkeypatch):
    record = tmp_path / "checksums.tsv"
    monkeypatch.setattr(Builder, "_checksums_path", epath.Path(record))
    Builder(data_dir=tmp_path / "first").download_and_prepare(
        download_config=tfds.download.DownloadConfig(register_checksums=True)
    )
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    assert f"\t{served.stat().st_size}\t{digest}\t" in record.read_text()

    known = checksums.load_url_infos(epath.Path(record))
    monkeypatch.setattr(Builder, "url_infos", known)
    assert prepare(tmp_path / "second").splits
    served.write_bytes(served.read_bytes() + b" ")
    with pytest.raises(errors.DatasetError, match=r"has another checksum .* for it"):
        prepare(tmp_path / "third")
    assert not list(tmp_path.glob("third/openkbp/paper/*"))


def test_a_page_instead_of_the_archive_is_deleted_again(served, tmp_path):
    whole = served.read_bytes()
    for wrong in (b"<html>Please log in</html>", whole[: len(whole) // 2]):
        served.write_bytes(wrong)
        with pytest.raises(errors.DatasetError, match=r"is not the archive .* deleted"):
            prepare(tmp_path / "data")
    served.write_bytes(whole)
    assert prepare(tmp_path / "data").splits


def test_an_answer_that_is_an_error_says_what_to_put_there(served, tmp_path):
    served.unlink()
    message = (
        rf"{tmp_path}/data/downloads/manual is empty, and http://127.* cannot be "
        r"downloaded \(404 .*\); put the challenge's data there"
    )
    with pytest.raises(errors.DatasetError, match=message):
        prepare(tmp_path / "data")


def test_without_a_network_the_error_comes_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv(openkbp_dataset_builder.URL_VARIABLE, "http://127.0.0.1:9/a.zip")
    with pytest.raises(errors.DatasetError, match=r"cannot be downloaded .*; put the"):
        prepare(tmp_path / "data")
