"""Which patients a cohort takes, and the index of a data set."""

import json
import pathlib

import numpy as np
import pytest

from mtl_jax.core import errors, geometry, sites
from mtl_jax.datasets import examples, splits

SITE = sites.OPENKBP
CONTOURED = {
    "pt_1": SITE.names,
    "pt_2": ("Brainstem", "SpinalCord", "RightParotid"),
    "pt_3": ("LeftParotid", "RightParotid", "SpinalCord", "Brainstem", "PTV70"),
}


def test_the_paper_leaves_out_incomplete_test_patients_only():
    def chosen(cohort: str, split: str) -> tuple[str, ...]:
        return splits.select(cohort, split, CONTOURED, SITE)

    assert chosen("paper", "test") == ("pt_1", "pt_3")
    assert chosen("paper", "train") == ("pt_1", "pt_2", "pt_3")
    assert chosen("paper", "validation") == ("pt_1", "pt_2", "pt_3")
    assert chosen("official", "test") == ("pt_1", "pt_2", "pt_3")


def test_a_split_without_patients_is_refused():
    with pytest.raises(errors.DatasetError, match="no validation patients"):
        splits.select("paper", "validation", {}, SITE)
    with pytest.raises(
        errors.DatasetError, match="none of the 1 test patients has all"
    ):
        splits.select("paper", "test", {"pt_2": CONTOURED["pt_2"]}, SITE)
    with pytest.raises(errors.DatasetError, match="did you mean 'paper'"):
        splits.select("papers", "test", CONTOURED, SITE)


def test_an_index_survives_json(tmp_path: pathlib.Path):
    origin = splits.Origin("a" * 64, "the folder x")
    index = splits.Index(SITE, "paper", origin, "b" * 64, {"train": ()})
    metadata = json.loads(json.dumps(index.to_json()))
    assert splits.Index.of(metadata, tmp_path) == index
    assert metadata["site"] == "openkbp"


def test_an_index_holds_all_of_a_users_site(tmp_path: pathlib.Path):
    path = tmp_path / "site.yaml"
    path.write_text(
        "name: brain\nprescription_gy: 54\ncontoured: [Brainstem]\n"
        "structures: {Brainstem: {dvh: ['exact:D_2']}, PTV_5400: {target_gy: 54}}\n"
    )
    site = sites.get(str(path))
    index = splits.Index(site, "all", splits.Origin("a", "b"), "c", {"train": ()})
    metadata = json.loads(json.dumps(index.to_json()))
    path.unlink()  # the data set does not need it any more
    assert splits.Index.of(metadata, tmp_path).site == site


@pytest.mark.parametrize("metadata", [None, {}, {"format": 99}])
def test_an_index_of_another_format_is_refused(metadata, tmp_path: pathlib.Path):
    with pytest.raises(errors.DatasetError, match="holds no data set of mtl_jax"):
        splits.Index.of(metadata, tmp_path)


def test_an_index_that_was_changed_is_refused(tmp_path: pathlib.Path):
    origin = splits.Origin("a" * 64, "the folder x")
    metadata = splits.Index(SITE, "paper", origin, "b" * 64, {"train": ()}).to_json()
    with pytest.raises(errors.DatasetError, match="does not match its digest"):
        splits.Index.of(metadata | {"cohort": "official"}, tmp_path)
    del metadata["digest"]  # as versions before had it
    assert splits.Index.of(metadata, tmp_path).cohort == "paper"
    with pytest.raises(errors.DatasetError, match=r"index .* is damaged .KeyError"):
        splits.Index.of({"format": 1, "site": "openkbp"}, tmp_path)


def test_an_entry_may_lack_the_digest_of_its_ct(tmp_path: pathlib.Path):
    """As in data sets of versions that did not store it."""
    grid = geometry.Grid((1, 2, 2), (1.0, 1.0, 1.0))
    body = np.ones(1, bool)
    for ct_sha256 in ("a" * 64, None):
        entry = examples.PatientEntry(
            "pt_1", 0, 1, grid, (), True, False, body, ct_sha256
        )
        origin = splits.Origin("a" * 64, "the folder x")
        index = splits.Index(SITE, "paper", origin, "b" * 64, {"test": (entry,)})
        metadata = json.loads(json.dumps(index.to_json()))
        (row,) = metadata["patients"]["test"]
        assert ("ct_sha256" in row) == (ct_sha256 is not None)
        (found,) = splits.Index.of(metadata, tmp_path).patients["test"]
        assert found.ct_sha256 == ct_sha256


@pytest.mark.parametrize("name", ["../escaped", "/etc/passwd", "..", "a/b", "", "a\n"])
def test_a_patient_whose_id_would_leave_its_folder_is_refused(tmp_path, name):
    """A data set may come from others, and ids become the names of files."""
    grid = geometry.Grid((1, 2, 2), (1.0, 1.0, 1.0))
    body = np.ones(1, bool)
    entry = examples.PatientEntry(name, 0, 1, grid, (), True, False, body)
    origin = splits.Origin("a" * 64, "the folder x")
    index = splits.Index(SITE, "paper", origin, "b" * 64, {"test": (entry,)})
    with pytest.raises(errors.DatasetError, match="is not a patient id"):
        splits.Index.of(json.loads(json.dumps(index.to_json())), tmp_path)
