"""Codes of BodyPartExamined, as scanners write them."""

import pytest

from mtl_jax.run import training_data


@pytest.mark.parametrize(
    ("written", "regions"),
    [
        ("PELVIS", (training_data.PELVIS,)),
        ("Prostate ", (training_data.PELVIS,)),
        ("HEAD_NECK", (training_data.HEAD,)),
        ("Head&Neck", (training_data.HEAD,)),
        ("ABDOMENPELVIS", (training_data.ABDOMEN, training_data.PELVIS)),
        ("", ()),
        ("BECKEN HR. MUSTER", ()),  # an operator's words, perhaps a name
    ],
)
def test_known_codes_become_regions(written, regions):
    assert training_data.regions_of(written) == regions


def test_only_sites_of_ours_are_somewhere():
    assert training_data.region_of_site("openkbp") == training_data.HEAD
    assert training_data.region_of_site("prostate") == training_data.PELVIS
    assert training_data.region_of_site("lung_of_a_user") is None
