"""What tiny runs on generated patients have left, made once for all tests."""

import pytest

from tests.study import command as commands


@pytest.fixture(scope="session")
def command(tmp_path_factory):
    """The command on three phantoms and one to test on; others must not change them."""
    return commands.on_phantoms(tmp_path_factory)


@pytest.fixture(scope="session")
def study(command, tmp_path_factory):
    """A whole study's folder and what it printed; copy it before you change it."""

    def make(folder):
        status, out, err = command.run(folder, **commands.STUDY)
        assert status == 0, err
        return out

    return commands.once(tmp_path_factory, "study", make)
