"""Clinical goals: the files, and verdicts worked out by hand."""

import math

import pytest

from mtl_jax.configs import prostate
from mtl_jax.core import clinical_goals, errors, sites
from mtl_jax.core import config as configs
from mtl_jax.evaluation import goals, scoring
from mtl_jax.study.tables import goal_tables, measures

GOALS = clinical_goals.of_site("openkbp")


def row(patient, structure, metric, plan, predicted, variant=""):
    error = abs(plan - predicted)
    return scoring.Row(
        patient, structure, metric, "Gy", plan, predicted, error, "", variant
    )


CORD, PTV = ("SpinalCord", "openkbp:D_0.1cc"), ("PTV70", "openkbp:D_99")
ROWS = [
    row("pt_1", *CORD, 45.0, 45.1),  # at most 45: met, not met
    row("pt_2", *CORD, 30.0, 40.0),  # both met
    row("pt_3", *CORD, math.nan, math.nan),
    row("pt_1", *PTV, 66.5, 66.4),  # at least 66.5: met, not met
    row("pt_2", *PTV, 60.0, 65.0),  # neither
    row("pt_3", *PTV, 60.0, 68.0),  # not met, met
    row("pt_1", *CORD, 45.0, 10.0, variant="with_possible_dose_mask"),
    row("pt_1", "SpinalCord", "exact:D_0.1cc", 45.0, 10.0),
]


@pytest.mark.parametrize(("site", "count"), [("openkbp", 10), ("prostate", 9)])
def test_each_goal_of_a_site_has_a_source(site, count):
    found = clinical_goals.of_site(site)
    assert len(found) == count
    assert all(goal.source for goal in found)


def test_the_metrics_of_goals_are_always_computed():
    config = configs.check(prostate.get_config())
    reported = scoring.Rules.of(config).template.dvh
    for goal in clinical_goals.of_site("prostate"):
        assert goal.metric in reported[goal.structure]


def test_sites_without_a_file_have_no_goals():
    assert clinical_goals.of_site("lung") == ()


def test_verdicts_by_hand():
    verdicts = {
        (v.patient, v.goal.structure): (v.plan, v.prediction)
        for v in goals.judge(ROWS, GOALS)
    }
    assert verdicts == {
        ("pt_1", "SpinalCord"): (True, False),
        ("pt_2", "SpinalCord"): (True, True),
        ("pt_1", "PTV70"): (True, False),
        ("pt_2", "PTV70"): (False, False),
        ("pt_3", "PTV70"): (False, True),
    }
    summary = scoring.summarise(ROWS, sites.OPENKBP)
    assert summary["goals_agree"] == pytest.approx(100 * 2 / 5)
    cord = summary["goals"]["SpinalCord: D_0.1cc ≤ 45 Gy"]
    assert cord == {"n": 2, "plan": 100.0, "prediction": 50.0, "agree": 50.0}
    assert len(summary["goals"]) == 2


def test_below_a_limit_is_not_at_it():
    (goal, *_) = clinical_goals.of_site("prostate")
    assert (goal.text, goal.met(49.9), goal.met(50.0)) == ("V_50Gy < 50 %", True, False)


def test_the_table_by_hand():
    other = [row("pt_1", *CORD, 45.0, 44.0), row("pt_2", *CORD, 30.0, 40.0)]
    (table,) = (
        table
        for table in goal_tables.tables(
            measures.Study.of(
                {"multi": [ROWS, other]}, {}, site=sites.OPENKBP, cohort="Three"
            )
        )
    )
    cord, _, every = table.rows
    # First seed 1 of 2 met and agreed, second seed 2 of 2.
    assert [cell.value for cell in cord[:2]] == ["SpinalCord", "D_0.1cc ≤ 45 Gy"]
    assert [cell.value for cell in cord[2:]] == [2, 100.0, 75.0, 75.0]
    # 2 of 5 pairs agree in the first seed, 2 of 2 in the second.
    assert every[-1].value == pytest.approx((40 + 100) / 2)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        ('structure = "Larynx"', "goal 1 has structure: give structure, metric, sourc"),
        (
            'structure = "Larinx"\nmetric = "exact:D_mean"\nbelow = 1\nsource = "a"',
            "goal 1: .*did you mean 'Larynx'",
        ),
        (
            'structure = "Larynx"\nmetric = "D_mean"\nbelow = 1\nsource = "a"',
            "goal 1: unknown metric 'D_mean'",
        ),
        (
            'structure = "Larynx"\nmetric = "exact:D_mean"\nbelow = 1\nsource = "b"',
            r"goal 1: source 'b' is not in \[sources\]",
        ),
        (
            'structure = "Larynx"\nmetric = "exact:D_mean"\nbelow = "1"\nsource = "a"',
            "goal 1: below should be a number",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_said(write_as, goal, message):
    path = write_as("goals.toml")(f'[sources]\na = "A"\n[[goals]]\n{goal}')
    with pytest.raises(errors.ConfigError, match=message) as raised:
        clinical_goals.read(path, sites.OPENKBP)
    assert str(raised.value).startswith(f"goals file {path}: ")
