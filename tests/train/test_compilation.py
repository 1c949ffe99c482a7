"""Where compiled programs are kept."""

import jax
import pytest

from mtl_jax.train import compilation


@pytest.fixture
def nowhere():
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_kept_in_the_users_cache(nowhere, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compilation.keep_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mtl_jax")


def test_a_folder_of_the_users_own_stays(nowhere, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", "elsewhere")
    compilation.keep_programs()
    assert jax.config.jax_compilation_cache_dir == "elsewhere"
