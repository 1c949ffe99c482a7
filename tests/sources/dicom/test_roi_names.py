"""Which ROI is which structure: names as clinics write them."""

import json

import pytest

from mtl_jax.core import errors, sites
from mtl_jax.sources.dicom import roi_names

SITE = sites.PROSTATE
USUAL = ("Prostate", "Rectum", "Bladder", "Femur_L", "Femur_R", "PTV_6000")


def test_tg263_names_are_taken():
    found = roi_names.assign((*USUAL, "External"), SITE)
    assert found.structures == {name: name for name in USUAL}
    assert found.unused == ("External",)


def test_other_names_are_taken_whatever_their_case_and_signs():
    names = ["BODY", "PROSTATE", "rectum", "Urinary Bladder", "Left Femur", "FEMUR RT",
             "PTV 60"]  # fmt: skip
    found = roi_names.assign(names, SITE)
    assert found.structures == {
        "Prostate": "PROSTATE",
        "Rectum": "rectum",
        "Bladder": "Urinary Bladder",
        "Femur_L": "Left Femur",
        "Femur_R": "FEMUR RT",
        "PTV_6000": "PTV 60",
    }
    assert found.unused == ("BODY",)


def test_the_challenges_names_and_tg263s_are_one():
    names = ["Parotid_L", "Right Parotid", "Cord", "PTV_5600", "PTV70", "PTV63Gy",
             "PTV"]  # fmt: skip
    found = roi_names.assign(names, sites.OPENKBP)
    assert found.structures == {
        "SpinalCord": "Cord",
        "RightParotid": "Right Parotid",
        "LeftParotid": "Parotid_L",
        "PTV56": "PTV_5600",
        "PTV63": "PTV63Gy",
        "PTV70": "PTV70",
    }
    assert found.unused == ("PTV",)  # one of three


@pytest.mark.parametrize(
    "name",
    ["Rectum_PRV05", "PRV_Rectum", "Rectum_opt", "RectumOpt", "zRectum", "_Rectum",
     "~Rectum", "Rectum!", "Rectum-PTV", "Rectum1", "Rectum wall", "Ring_Rectum",
     "Rectum_L", "CouchSurface", "Couch", "PTV_opt", "PTV60_opt", "PTV-03", "PTV_Ring",
     "PTV_5400", "PTV_60cGy", "PTV_6000Gy", "PTVp_6000", "CTV_6000", "zPTV", "CTV",
     "Femur_Head_L", "Femoral Head Lef", "Femur", "Femurs", "Prostate+SV", "", "  "],
)  # fmt: skip
def test_what_only_looks_right_is_not_taken(name):
    found = roi_names.assign([name], SITE)
    assert found == roi_names.Assigned({}, (name,))


@pytest.mark.parametrize(
    "name", ["PTV", "ptv", "PTV60", "PTV_60", "PTV 60.0", "PTV60Gy", "PTV_6000cGy"]
)
def test_a_target_is_known_by_its_dose_or_as_the_only_one(name):
    assert roi_names.assign([name], SITE).structures == {"PTV_6000": name}


def test_the_exact_name_comes_before_others():
    found = roi_names.assign(["RECTUM", "Rectum", "Rektum"], SITE)
    assert found.structures == {"Rectum": "Rectum"}
    assert found.unused == ("RECTUM", "Rektum")


def test_a_mapping_comes_before_names():
    names = ["Rectum", "Rektum neu", "PTV", "Femoral Head L", "Couch"]
    mapping = {
        "Rektum neu": "Rectum",
        "Femoral Head L": "Femur_L",
        "PTV": None,
        "Of another patient": "Bladder",
    }
    found = roi_names.assign(names, SITE, mapping)
    assert found.structures == {"Rectum": "Rektum neu", "Femur_L": "Femoral Head L"}
    # What the mapping rules out is nothing to report, what it overrules is.
    assert found.unused == ("Rectum", "Couch")


def test_two_rois_of_one_structure_are_refused_with_what_to_write():
    with pytest.raises(errors.SourceError) as raised:
        roi_names.assign(["RECTUM", "rectum", "PTV", "PTV60", "Couch"], SITE)
    assert str(raised.value) == (
        '2 ROIs are Rectum ("RECTUM", "rectum"): leave one, for example by a '
        'mapping file with "rectum": null; 2 ROIs are PTV_6000 ("PTV", "PTV60"): leave '
        'one, for example by a mapping file with "PTV60": null. ROIs found: "RECTUM", '
        '"rectum", "PTV", "PTV60", "Couch"'
    )
    mapping = {"rectum": None, "PTV60": None}
    found = roi_names.assign(["RECTUM", "rectum", "PTV", "PTV60"], SITE, mapping)
    assert found.structures == {"Rectum": "RECTUM", "PTV_6000": "PTV"}
    with pytest.raises(errors.SourceError, match="2 ROIs are Bladder"):
        roi_names.assign(["a", "b"], SITE, {"a": "Bladder", "b": "Bladder"})


def test_one_name_twice_cannot_be_told_apart():
    with pytest.raises(errors.SourceError, match=r"one name are Bladder .*rename"):
        roi_names.assign(["Bladder", "Bladder"], SITE)
    assert roi_names.assign(["Couch", "Couch"], SITE).unused == ("Couch", "Couch")


def test_a_mapping_to_what_the_site_has_not_is_refused():
    message = "\"Blase\" is mapped to 'Blader'.*did you mean 'Bladder'.*it has Prostate"
    with pytest.raises(errors.SourceError, match=message):
        roi_names.assign(["Blase"], SITE, {"Blase": "Blader"})


def test_what_is_missing_is_an_error_where_it_is_asked_for():
    found = roi_names.assign(["Rectum", "Femoral L", "Couch"], SITE)
    assert found.require(["Rectum"]) is found
    with pytest.raises(errors.SourceError) as raised:
        found.require(SITE.contoured)
    assert str(raised.value) == (
        "no ROI is called Prostate, Bladder, Femur_L, Femur_R. ROIs that match "
        'nothing: "Femoral L", "Couch". If one of them is Prostate, add this line '
        'to the mapping file: "NAME": Prostate'
    )
    with pytest.raises(errors.SourceError, match='mapping file: "Femoral L": Femur_L'):
        found.require(["Femur_L"])


@pytest.fixture
def write(write_as):
    return write_as("names.yaml")


def test_a_mapping_file(write):
    expected = {"Blase: voll": "Bladder", "Tisch": None}
    text = '"Blase: voll": Bladder\nTisch: null\n'
    assert roi_names.load_mapping(write(text), SITE) == expected
    path = write(json.dumps(expected), "names.json")
    assert roi_names.load_mapping(path, SITE) == expected
    assert roi_names.load_mapping(write("# nothing\n"), SITE) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: Bladder\nA: Rectum", "'A' appears twice"),
        ("A: Blader", "mapped to 'Blader'.*did you mean 'Bladder'"),
        ("A: [Bladder]", r"\"A\" has \['Bladder'\]: give one of Prostate.*or null"),
        ("A: no", '"A" has False: give one of'),
        ("1: Bladder", "1 should be a name: put it in quotes"),
        ("- A", "holds no ROI names"),
        ("A: {", "is not YAML"),
    ],
)
def test_what_is_wrong_in_a_mapping_file(write, text, message):
    path = write(text)
    with pytest.raises(errors.ConfigError, match=message) as raised:
        roi_names.load_mapping(path, SITE)
    assert str(raised.value).startswith(f"mapping file {path}: ")
    with pytest.raises(errors.ConfigError, match=r"should end in \.yaml"):
        roi_names.load_mapping(write(text, "names.txt"), SITE)


def test_names_of_a_mapping_that_no_patient_has():
    mapping = {"Blase": "Bladder", "Blasse": "Bladder", "Tisch": None}
    assert roi_names.unmatched(mapping, ["Blase", "Couch"]) == ("Blasse", "Tisch")


ODD = ['say "ah": #1', "tab\there", "line\nbreak", "Prostée 😀", "no", "1", "\u2028"]


def test_a_survey_is_a_mapping_file_to_fill_in(write):
    counts = {"Rectum": 12, "Bladder2": 1, "Couch": 12} | dict.fromkeys(ODD, 3)
    text = roi_names.survey(counts, SITE)
    assert '# "Rectum": Rectum  # 12 patients' in text
    assert '# "Bladder2": Bladder  # 1 patient' in text
    assert '# "Couch": null  # 12 patients' in text
    assert text.index("Rectum  #") < text.index("Not known") < text.index("Couch")
    assert all(line.startswith("#") for line in text.splitlines() if line)
    assert roi_names.load_mapping(write(text), SITE) == {}
    lines = [line[2:] for line in text.split("\n") if line.startswith('# "')]
    found = roi_names.load_mapping(write("\n".join(lines)), SITE)
    assert set(found) == set(counts)
    assert found["Bladder2"] == "Bladder" and found["Couch"] is None
