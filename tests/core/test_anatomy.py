"""How names of structures are compared."""

import pytest

from mtl_jax.core import anatomy


@pytest.mark.parametrize(
    "name",
    ["Femur_L", "femur_l", "FEMUR LT", "Left Femur", "LeftFemur", "LFemur", "femurL",
     "Lt. Femur", "Femur, left", "Femur (L)", "femur-left", " Femur  L "],
)  # fmt: skip
def test_case_signs_and_the_place_of_the_side_do_not_matter(name):
    assert anatomy.key(name) == ("femur", "L")


@pytest.mark.parametrize(
    "name",
    ["Femur_R", "Femur", "Femur_Head_L", "Femur_L_PRV05", "Femur_L_opt", "Femur_L 2",
     "zFemur_L", "Ring_Femur_L", "L Femur R", "FEMURL", "Fémur_L"],
)  # fmt: skip
def test_other_names_have_other_keys(name):
    assert anatomy.key(name) != ("femur", "L")
    assert anatomy.key(name) is not None


@pytest.mark.parametrize(
    "name",
    ["_Femur_L", "~Femur_L", "Femur_L!", "Femur_L^1", "Femur_L+5", "", "  ", "_"],
)
def test_signs_of_tg263_say_that_it_is_something_else(name):
    assert anatomy.key(name) is None


def test_words_are_joined():
    assert anatomy.key("BrainStem") == anatomy.key("Brainstem") == ("brainstem", "")
    assert anatomy.key("Spinal Cord") == anatomy.key("SPINAL_CORD")
    assert anatomy.key("L") == ("l", "")  # nothing of which it would be a side
    assert anatomy.key("DRÜSE_links") == anatomy.key("Drüse Links")


def test_the_other_side():
    assert anatomy.opposite("Femur_L") == "Femur_R"
    assert anatomy.opposite("Lung_R") == "Lung_L"
    assert anatomy.opposite("Rectum") is None
