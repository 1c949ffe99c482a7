"""What a study's report shows first."""

import types

from mtl_jax.core import sites
from mtl_jax.evaluation import scoring
from mtl_jax.report import sections
from mtl_jax.study import report_content


def row(patient, structure, plan, predicted, metric="target:D_95", variant=""):
    error = abs(plan - predicted)
    return scoring.Row(
        patient, structure, metric, "%", plan, predicted, error, "", variant
    )


def test_the_worst_target_of_a_role_that_is_told_targets_comes_first():
    rows = [
        row("pt_1", "PTV70", 98.0, 95.0),
        row("pt_2", "PTV56", 99.0, 81.5),
        row("pt_3", "PTV70", 99.0, 50.0, variant="without_possible_dose_mask"),
        row("pt_3", "PTV70", 99.0, 50.0, metric="openkbp:D_95"),
    ]
    results = types.SimpleNamespace(rows={"multi": [rows], "informed": [rows]})
    finding, of_other = report_content._worst_targets(results)
    assert (finding.kind, finding.patient) == ("target", "pt_2")
    assert finding.text.endswith(
        "informed: PTV56 D_95 81.5 % of the prescription, 99.0 % in the plan"
    )
    assert of_other.text.startswith("Multi-Automated (not told the targets): PTV56")
    assert next(iter(sections.KINDS)) == "target"
    assert not list(
        report_content._worst_targets(types.SimpleNamespace(rows={"informed": [[]]}))
    )


def test_a_role_has_one_warning_for_all_better_yardsticks():
    def doses(errors):
        return [row(f"pt_{n}", "", 0.0, e, "dose_error") for n, e in enumerate(errors)]

    results = types.SimpleNamespace(
        site=sites.OPENKBP,
        rows={"multi": [doses((4.0, 6.0))], "baseline": [doses((1.0, 1.0))]},
        yardsticks={
            "mean_dose_map": doses((3.0, 3.0)),
            "plain_mean_dose_map": doses((4.5, 5.5)),
            "mean_dose_map_with_prescriptions": doses((9.0, 9.0)),
        },
    )
    (finding,) = report_content._yardsticks(results)
    assert finding.text == (
        "Multi-Automated: dose score 5.00 Gy is no better than without the image: "
        "mean dose map (3.00 Gy), plain mean dose map (5.00 Gy)"
    )
