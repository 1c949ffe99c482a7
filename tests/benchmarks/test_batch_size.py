"""The runs of the batch-size study and its table."""

import pytest

from benchmarks import batch_size
from mtl_jax.run import wiring


@pytest.mark.parametrize("rule", batch_size.RULES)
@pytest.mark.parametrize("size", batch_size.SIZES)
def test_all_runs_see_as_many_slices(size, rule):
    config = wiring.check(batch_size.configure(size, rule, 51_200, 0))
    assert config.train.steps * config.train.batch_size == 51_200
    assert config.train.validate_every == config.train.steps


def test_the_rules_at_four_times_the_first_size():
    rates = {
        rule: batch_size.configure(32, rule, 51_200, 0).optimizer.learning_rate
        for rule in batch_size.RULES
    }
    assert rates == pytest.approx({"linear": 4e-3, "root": 2e-3, "the same": 1e-3})


def test_the_table_has_means_over_seeds_and_what_diverged():
    def row(size, rule, contours, dose):
        return {"size": size, "rule": rule, "contours": contours, "dose": dose}

    table = batch_size.render(
        [
            row(8, "all", 0.2, 0.01),
            row(8, "all", 0.4, 0.03),
            row(32, "linear", 0.5, 0.04),
            row(32, "linear", None, None),
            row(32, "root", None, None),
        ]
    ).splitlines()
    assert table[2] == "| 8 |" + " 0.3000 | 0.0200 |" * 3
    assert table[3].startswith(
        "| 32 | 0.5000 (1 diverged) | 0.0400 (1 diverged) | (1 d"
    )
