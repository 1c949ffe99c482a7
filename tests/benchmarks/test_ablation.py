"""The ablation's runs and its table; the training itself is that of mtl_jax.main."""

import pytest

from benchmarks import ablation
from mtl_jax.configs import openkbp_best
from mtl_jax.run import wiring


@pytest.mark.parametrize("role", ["informed", "multi"])
def test_each_change_is_valid_and_differs_from_the_recipe(role):
    recipe = openkbp_best.get_config(role)
    recipe.update_from_flattened_dict(ablation.REDUCED)
    runs = [r for r in ablation.list_runs([role]) if not r.words.startswith("recipe")]
    for run in runs:
        config = openkbp_best.get_config(role)
        config.update_from_flattened_dict(ablation.REDUCED)
        config.update_from_flattened_dict(run.keys)
        assert config != recipe, run.words
        wiring.check(config)
    assert len({run.name for run in runs}) == len(runs) >= 10


def test_a_table_shows_the_difference_from_the_mean_of_the_seeds():
    def row(words, dose):
        return {
            "role": "informed",
            "words": words,
            "openkbp_dose_score": dose,
            "openkbp_dvh_score": None,
            "mean_dice": None,
        }

    rows = [row(f"recipe, seed {n}", dose) for n, dose in enumerate((3.0, 3.2, 3.4))]
    lines = ablation.render([*rows, row("no shifts", 3.45)]).splitlines()
    assert lines[2] == "| informed | recipe, seed 0 | 3.000 |  |  |"
    assert lines[-1] == "| informed | no shifts | 3.450 (+0.250) |  |  |"
