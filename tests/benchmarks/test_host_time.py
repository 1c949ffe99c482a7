"""The host's work a step, on a few steps of a narrow network."""

import numpy as np
import pytest

from benchmarks import host_time


def test_the_parts_of_a_step_are_the_whole(capsys):
    made, state = host_time.make("baseline", 2)
    found = host_time.measure(made, state, 30)
    whole = found.pop(host_time.WHOLE)
    assert whole.shape == (3,)  # of ten steps each
    np.testing.assert_allclose(sum(found.values()), whole)
    assert all(np.all(values > 0) for values in found.values())
    with pytest.raises(SystemExit):
        host_time.main(["--steps=0"])
