"""Summaries as text, with means worked by hand."""

from mtl_jax.evaluation import summary


def test_an_overview_has_the_means_over_seeds():
    text = summary.overview(
        {
            "Multi": [
                {"openkbp_dose_score": 6.0, "mean_dice": 0.75, "missed": 1},
                {"openkbp_dose_score": 7.0, "mean_dice": 0.25, "missed": 2},
            ],
            "map": [{"openkbp_dose_score": 8.9}],
        }
    )
    assert text.splitlines() == [
        "       dose score, Gy  mean Dice  structures missed",
        "Multi           6.500      0.500              1.500",
        "map             8.900",
    ]
