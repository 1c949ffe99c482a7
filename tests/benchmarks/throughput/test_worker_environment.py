"""The environment of a worker: the same allocator and threads for both."""

import pytest

from benchmarks.throughput import cases, measure

OURS = cases.Mode(cases.OURS, "float32", "float32", environment={"A": "1"})
THEIRS = cases.Mode(cases.PYTORCH, "eager", "float32")


def environment(mode, folder, *, allocator="default", **user):
    case = cases.Case("train", "cpu", "single", 8, 128, allocator, "full")
    return measure.worker_environment(case, mode, threads=3, caches=folder, user=user)


@pytest.mark.parametrize("mode", [OURS, THEIRS], ids=["ours", "pytorch"])
def test_both_get_the_same_allocator_and_threads(mode, tmp_path):
    user = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.check=0"}
    plain = environment(mode, tmp_path, **user)
    assert plain["GLIBC_TUNABLES"] == "glibc.malloc.check=0"
    pages = environment(mode, tmp_path, allocator="hugepages")
    assert pages["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert environment(mode, tmp_path)["GLIBC_TUNABLES"] == ""
    assert plain["OMP_NUM_THREADS"] == plain["NPROC"] == "3"
    assert plain["JAX_PLATFORMS"] == "cpu"


def test_a_mode_has_its_own_environment(tmp_path):
    assert environment(OURS, tmp_path)["A"] == "1"
    assert "A" not in environment(THEIRS, tmp_path)
