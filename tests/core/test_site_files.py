"""A user's own site: read from a file, kept as JSON, and refused where it is wrong."""

import json
import pathlib
import re

import pytest

from mtl_jax.configs import prostate
from mtl_jax.core import config as configs
from mtl_jax.core import errors, reported_metrics, site_files, sites

LUNG = pathlib.Path(__file__).resolve().parents[2] / "configs" / "sites" / "lung.yaml"
SMALL = """
name: breast
prescription_gy: 40.05
contoured: [Heart, Lung_L, Lung_R]
structures:
  Lung_L: {dvh: ["exact:V_17Gy"], volume_cc: [500, 4000]}
  Lung_R:
  Heart: {tg263: Heart, aliases: [Herz], colour: [1, 2, 3], dvh: ["exact:D_mean"]}
  Target: {tg263: PTV_4005, target_gy: 40.05, dvh: ["exact:D_95"]}
"""


@pytest.fixture
def write(write_as):
    return write_as("site.yaml")


def test_a_file_is_a_site(write):
    site = sites.get(str(write(SMALL)))
    assert site.name == "breast"
    assert site.names == (
        "Lung_L",
        "Lung_R",
        "Heart",
        "Target",
    )  # the order of the file
    assert site.contoured == ("Heart", "Lung_L", "Lung_R")
    assert (site.prescription_gy, site.ct_offset_hu) == (40.05, 0.0)
    heart, left = site.structure("Heart"), site.structure("Lung_L")
    assert (heart.aliases, heart.colour, heart.mirror) == (("Herz",), (1, 2, 3), None)
    assert (left.tg263, left.mirror, left.volume_cc) == (
        "Lung_L",
        "Lung_R",
        (500, 4000),
    )
    assert site.structure("Lung_R").mirror == "Lung_L"
    assert site.structure("Target").target_gy == 40.05
    # What networks contour makes the table of doses; all of it is reported.
    assert site.dose_table == (("Heart", "exact:D_mean"), ("Lung_L", "exact:V_17Gy"))
    template = reported_metrics.default(site)
    assert template.dvh["Target"] == ("exact:D_95",)
    assert template.patient == sites.DOSE_METRICS


def test_toml_does_as_well(write):
    text = """
        name = "brain"
        prescription_gy = 54
        ct_offset_hu = 1000
        contoured = ["Brainstem"]
        [structures.Brainstem]
        dvh = ["exact:D_0.1cc"]
    """
    site = sites.get(str(write(text, "site.toml")))
    assert (site.ct_offset_hu, site.prescription_gy) == (1000.0, 54.0)


@pytest.mark.parametrize("text", [SMALL, LUNG.read_text(encoding="utf-8")])
def test_a_site_survives_json(write, text):
    site = site_files.read(write(text))
    assert sites.from_json(json.loads(json.dumps(sites.to_json(site)))) == site


def test_the_example_is_a_configuration():
    site = sites.get(str(LUNG))
    assert site.contoured == ("Lung_L", "Lung_R", "Heart", "Esophagus", "SpinalCord")
    config = prostate.get_config()
    config.site = str(LUNG)
    config.data.structures = site.contoured
    assert configs.check(config).site == str(LUNG)
    config = prostate.get_config()
    config.site = str(LUNG)
    with pytest.raises(errors.ConfigError, match="site lung has no structure 'Prosta"):
        configs.check(config)


def test_the_page_on_site_files_is_right(write):
    page = (LUNG.parents[2] / "docs" / "reference" / "site-files.md").read_text("utf-8")
    site_text, _ = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    site = site_files.read(write(site_text))
    assert site.structure("Heart").aliases == ("Herz", "Coeur")
    for key in (*site_files.SITE_KEYS, *site_files.STRUCTURE_KEYS):
        assert f"| `{key}` |" in page


def changed(old, new):
    assert old in SMALL
    return SMALL.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("name: breast", "nam: breast"), "unknown key 'nam'; did you mean"),
        (changed("name: breast", ""), "lacks name"),
        (changed("name: breast", "name: ../up"), r"name is '\.\./up': give a letter"),
        (changed("name: breast", "name: prostate"), "prostate is the name of a built"),
        (changed("40.05\ncon", "0\ncon"), "prescription_gy is 0: give a number abo"),
        (changed("40.05\ncon", "yes\ncon"), "prescription_gy is True: give a number"),
        (changed("40.05\ncon", ".inf\ncon"), "prescription_gy is inf: give a finite"),
        (changed("[Heart, L", "[Hart, L"), "contoured has 'Hart'.*mean 'Heart'"),
        (changed("[Heart, Lung_L", "[Heart, Heart"), "contoured has 'Heart' more than"),
        (changed("[Heart, Lung_L, Lung_R]", "[]"), "contoured is empty"),
        (changed("[Heart, Lung_L, Lung_R]", "Heart"), "contoured should be a list"),
        (changed("  Lung_R:", "  Lung R:"), "structure is 'Lung R': give a letter"),
        (changed("  Lung_R:", "  Lung_L:"), "'Lung_L' appears twice"),
        (changed("  Lung_R:", "  Lung_R: 5"), "structure Lung_R: should hold tg263"),
        (changed("[500, 4000]", "[4000, 500]"), "structure Lung_L: volume_cc is .*low"),
        (changed("[500, 4000]", "4000"), r"volume_cc is 4000: give \[low and high\]"),
        (changed("[500, 4000]", "[0, 4000]"), "volume_cc is 0: give a number above 0"),
        (changed("[1, 2, 3]", "[1, 2]"), r"colour is \[1, 2\]: give \[red"),
        (changed("[1, 2, 3]", "[1, 2, 256]"), "colour has 256: give 0 to 255"),
        (changed("exact:V_17Gy", "V_17Gy"), "Lung_L: unknown metric 'V_17Gy'; there"),
        (changed('"exact:V_17Gy"', '"exact:D_5", "exact:D_5"'), "dvh has 'exact:D_5'"),
        (changed("aliases: [Herz]", "aliases: Herz"), "aliases should be a list"),
        (changed("aliases: [Herz]", "alias: Herz"), "Heart: unknown key 'alias'; did"),
        (changed("[Herz]", '["Left Lung"]'), "Lung_L and Heart share a name .*side L"),
        (changed("target_gy: 40.05", "target_gy: -1"), "Target: target_gy is -1"),
        ("name: {breast", "is not YAML"),
        ("5", "holds no name, prescription_gy"),
        ("name: a\nprescription_gy: 1\ncontoured: [A]\nstructures: [A]", "list names"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_the_files_name(write, text, message):
    path = write(text)
    with pytest.raises(errors.ConfigError, match=message) as raised:
        sites.get(str(path))
    assert str(raised.value).startswith(f"site file {path}: ")


def test_masks_have_room_for_fifteen(write):
    names = "".join(f"  S{i}:\n" for i in range(16))
    text = f"name: many\nprescription_gy: 1\ncontoured: [S0]\nstructures:\n{names}"
    with pytest.raises(errors.ConfigError, match="has 16 entries: give at most 15"):
        sites.get(str(write(text)))
    site = sites.get(str(write(text.replace("  S15:\n", ""))))
    assert len({one.colour for one in site.structures}) == 15


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(errors.ConfigError, match=r"site file .*cannot be read"):
        sites.get(str(tmp_path / "site.yaml"))
