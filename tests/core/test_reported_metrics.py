"""The template of reported metrics: shown, edited, read back, and refused."""

import dataclasses
import pathlib
import re

import pytest

from mtl_jax.core import errors, metric_names, reported_metrics, sites

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITE = sites.OPENKBP
DEFAULT = reported_metrics.default(SITE)


@pytest.fixture
def write(write_as):
    return write_as("metrics.toml")


@pytest.mark.parametrize("site", sites.SITES.values(), ids=sites.SITES)
def test_what_is_shown_reads_back(write, site):
    template = reported_metrics.default(site)
    assert (
        reported_metrics.read(write(reported_metrics.render(template, site)), site)
        == template
    )


def test_the_default_is_the_challenges_and_the_papers():
    official = {
        (s.name, metric)
        for s in SITE.structures
        for metric in (
            sites.OPENKBP_OAR_DVH if s.target_gy is None else sites.OPENKBP_TARGET_DVH
        )
    }
    assert len(official) == 7 * 2 + 3 * 3
    reported = {(name, m) for name, metrics in DEFAULT.dvh.items() for m in metrics}
    assert official <= reported
    of_paper = {
        (name, metric)
        for name in SITE.contoured
        for metric in ("exact:D_0.1cc", "exact:D_mean")
    }
    of_targets = {
        (s.name, metric)
        for s in SITE.structures
        if s.target_gy is not None
        for metric in sites.COVERAGE
    }
    assert reported - official == of_paper | of_targets
    rows = [(name, m) for name, metrics in DEFAULT.dose_table.items() for m in metrics]
    assert rows == list(SITE.dose_table) and len(rows) == 8
    assert list(DEFAULT.dose_table) == list(SITE.contoured)


def test_a_file_replaces_what_it_names(write):
    text = """
        patient = ["dose_error", "dose_mae_20gy"]
        [dvh]
        PTV70 = ["exact:D_98", "exact:V_66.5Gy"]
        PTV63 = []
        [contours]
        Brainstem = ["dice", "surface_dice_1mm"]
        [dose_table]
        PTV70 = ["exact:D_98"]
    """
    found = reported_metrics.read(write(text), SITE)
    assert found.patient == ("dose_error", "dose_mae_20gy")
    assert found.dvh["PTV70"] == ("exact:D_98", "exact:V_66.5Gy")
    assert found.dvh["PTV63"] == ()
    assert found.dvh["Brainstem"] == DEFAULT.dvh["Brainstem"]
    assert list(found.dvh) == list(DEFAULT.dvh)  # the report's order stays
    assert found.contours["Brainstem"] == ("dice", "surface_dice_1mm")
    assert found.contours["Larynx"] == DEFAULT.contours["Larynx"]
    assert found.dose_table == {"PTV70": ("exact:D_98",)}


def test_what_is_no_longer_reported_leaves_the_sites_table(write):
    text = '[dvh]\nBrainstem = ["openkbp:D_mean"]\nSpinalCord = ["exact:D_2"]'
    found = reported_metrics.read(write(text), SITE)
    assert list(found.dose_table) == ["Brainstem", "LeftParotid", "RightParotid"]
    assert found.dose_table["Brainstem"] == ("openkbp:D_mean",)


def test_what_is_shown_fits_a_screen():
    lines = reported_metrics.render(DEFAULT, SITE).split("\n")
    assert max(map(len, lines)) <= 88


def test_yaml_does_as_well(write):
    path = write("dvh:\n  PTV70: [exact:D_98, 'openkbp:D_2']\n", "metrics.yaml")
    found = reported_metrics.read(path, SITE)
    assert found.dvh["PTV70"] == ("exact:D_98", "openkbp:D_2")
    assert dataclasses.replace(found, dvh=DEFAULT.dvh) == DEFAULT


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[dvh]\nBrainstm = []", "no structure 'Brainstm'; did you mean 'Brainstem'"),
        ('[dvh]\nLarynx = ["exact:D_meen"]', r"\[dvh\] Larynx: .*mean 'exact:D_mean'"),
        (
            '[dvh]\nLarynx = ["D_mean"]',
            "did you mean 'exact:D_mean'.*after openkbp: or",
        ),
        ('[dvh]\nLarynx = ["exact:D_101"]', "unknown metric 'exact:D_101'"),
        ('[dvh]\nLarynx = ["exact:D_0cc"]', "unknown metric 'exact:D_0cc'"),
        ('[dvh]\nLarynx = ["dice"]', "unknown metric 'dice'"),
        ('[contours]\nLarynx = ["hd96"]', "did you mean 'hd95'"),
        ('patient = ["dose_eror"]', "patient: .*did you mean 'dose_error'"),
        ('[dvh]\nLarynx = "exact:D_mean"', r"\[dvh\] Larynx should be a list"),
        ('dvh = ["exact:D_mean"]', r"\[dvh\] should be a table of structures"),
        ("[dhv]", "unknown part 'dhv'; did you mean 'dvh'"),
        ('[dvh]\nLarynx = ["exact:D_5", "exact:D_5"]', "'exact:D_5' more than once"),
        ('[dose_table]\nLarynx = ["exact:D_5"]', r"\[dvh\] Larynx does not: add it"),
        ("[dvh", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(write, text, message):
    path = write(text)
    with pytest.raises(errors.ConfigError, match=message) as raised:
        reported_metrics.read(path, SITE)
    assert str(raised.value).startswith(f"metrics file {path}: ")


def test_a_file_that_is_none(write, tmp_path):
    with pytest.raises(errors.ConfigError, match="is not YAML"):
        reported_metrics.read(write("dvh: [", "metrics.yml"), SITE)
    with pytest.raises(errors.ConfigError, match="holds no patient, dvh"):
        reported_metrics.read(write("text", "metrics.yml"), SITE)
    with pytest.raises(errors.ConfigError, match="cannot be read: No such file"):
        reported_metrics.read(tmp_path / "metrics.toml", SITE)
    with pytest.raises(errors.ConfigError, match=r"should end in \.toml"):
        reported_metrics.read(write("", "metrics.json"), SITE)


def test_the_page_on_metrics_defines_them_and_its_file_is_read(write):
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    for scope in ("patient", "contours"):
        for name in metric_names.known(scope):
            assert f"`{name}`" in page
    (example,) = re.findall(r"```toml\n(.*?)```", page, flags=re.DOTALL)
    assert "exact:V_66.5Gy" in reported_metrics.read(write(example), SITE).dvh["PTV70"]


@pytest.mark.parametrize("scope", ["patient", "dvh", "contours"])
def test_known_names_parse(scope):
    for name in metric_names.known(scope):
        metric = metric_names.parse(name, scope)
        assert (metric.name, metric.form.scope) == (name, scope)
        assert bool(metric.dialect) == (scope == "dvh")


def test_a_name_carries_its_number_and_unit():
    metric = metric_names.parse("exact:V_66.5Gy", "dvh")
    assert (metric.kind, metric.amount, metric.unit) == ("V_Gy", 66.5, "%")
    metric = metric_names.parse("openkbp:D_0.1cc", "dvh")
    assert (metric.kind, metric.amount, metric.unit) == ("D_cc", 0.1, "Gy")
    assert metric_names.parse("surface_dice_2mm", "contours").amount == 2
