"""The host's work a step, on a few steps of a narrow network."""

import numpy as np
import pytest

from benchmarks import host_time


@pytest.mark.parametrize("steps_per_call", [1, 5])
def test_the_parts_of_a_step_are_the_whole(capsys, steps_per_call):
    made, state = host_time.make("baseline", 2, steps_per_call)
    found = host_time.measure(made, state, 30)
    whole = found.pop(host_time.WHOLE)
    assert whole.shape == (3,)  # of ten steps each
    np.testing.assert_allclose(sum(found.values()), whole)
    assert all(np.all(values > 0) for values in found.values())
    with pytest.raises(SystemExit):
        host_time.main(["--steps=0"])
