"""Where compiled programs are kept."""

import jax
import pytest

from mtl_jax.train import compilation


@pytest.fixture
def before():
    before = jax.config.jax_compilation_cache_dir
    yield before
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_kept_in_the_users_cache(before, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    compilation.keep_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mtl_jax")


def test_a_folder_of_the_users_own_stays(before, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(before))
    compilation.keep_programs()
    assert jax.config.jax_compilation_cache_dir == before
