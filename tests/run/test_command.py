"""What the flags of a command may be."""

from pathlib import Path

import pytest

from mtl_jax.core import errors
from mtl_jax.run import command


def test_a_folder_is_no_address():
    assert command.folder("~/data") == Path.home() / "data"
    with pytest.raises(errors.ConfigError, match=r"gs://a/b is an address.*mount"):
        command.folder("gs://a/b")
