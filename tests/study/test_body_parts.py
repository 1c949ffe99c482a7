"""Codes of BodyPartExamined, as scanners write them."""

import pytest

from mtl_jax.study import body_parts


@pytest.mark.parametrize(
    ("written", "regions"),
    [
        ("PELVIS", (body_parts.PELVIS,)),
        ("Prostate ", (body_parts.PELVIS,)),
        ("HEAD_NECK", (body_parts.HEAD,)),
        ("Head&Neck", (body_parts.HEAD,)),
        ("ABDOMENPELVIS", (body_parts.ABDOMEN, body_parts.PELVIS)),
        ("", ()),
        ("BECKEN HR. MUSTER", ()),  # an operator's words, perhaps a name
    ],
)
def test_known_codes_become_regions(written, regions):
    assert body_parts.regions(written) == regions


def test_only_sites_of_ours_are_somewhere():
    assert body_parts.of_site("openkbp") == body_parts.HEAD
    assert body_parts.of_site("prostate") == body_parts.PELVIS
    assert body_parts.of_site("lung_of_a_user") is None
