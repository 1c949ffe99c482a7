"""The batches of a run are the same wherever its slices are kept."""

import itertools

import jax
import numpy as np

from mtl_jax.run import command as commands_of_runs
from mtl_jax.run import wiring
from mtl_jax.train import resident
from tests import commands


def test_a_run_with_its_slices_on_the_device_has_the_same_batches(command, tmp_path):
    def batches(*, on_device):
        changes = {"data__on_device": on_device, "augment__enabled": False}
        config = wiring.check(commands.configure(**changes))
        data = commands_of_runs.prepare_in(
            config, data_dir=command.data_dir, manual_dir=None
        )
        run = wiring.Run(config, data, tmp_path)
        training = run.training_batches
        assert (training.table is None) == (not on_device)
        put, _ = resident.put_batches(run.backend, training.table)
        first = itertools.islice(training.iterate(3), 3)
        return training.steps_per_epoch, [jax.device_get(put(each)) for each in first]

    (steps, read), (again, kept) = (batches(on_device=each) for each in (False, True))
    assert steps == again
    for one, other in zip(read, kept, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)
