"""What a study's report shows first."""

import types

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
    (finding,) = report_content._worst_targets(results)
    assert (finding.kind, finding.patient) == ("target", "pt_2")
    assert finding.text.endswith(
        "informed: PTV56 D_95 81.5 % of the prescription, 99.0 % in the plan"
    )
    assert next(iter(sections.KINDS)) == "target"
    assert not list(
        report_content._worst_targets(types.SimpleNamespace(rows={"informed": [[]]}))
    )
