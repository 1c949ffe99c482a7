"""Which cases and modes are measured where; only the device query is made up."""

import pytest

from benchmarks.throughput import __main__ as command
from benchmarks.throughput import cases, machine, measure
from mtl_jax.core import errors

CPU = {"cpu": "a processor"}
GPU = CPU | {"cuda": "a card"}
TPU = CPU | {"tpu": "a TPU"}


def plan(*flags, ours=GPU, theirs=GPU, reason=""):
    found = {
        cases.OURS: machine.Framework(ours),
        cases.PYTORCH: machine.Framework(theirs, reason=reason),
    }
    return command.make_plan(command.parse_flags(flags), found)


def labels(made, part):
    return [m.label for case, modes in made.planned if case.part == part for m in modes]


def test_a_gpu_is_taken_where_there_is_one():
    made = plan("--networks=single", "--batch_sizes=8")
    assert {case.platform for case, _ in made.planned} == {"cuda"}
    assert {case.allocator for case, _ in made.planned} == {"default"}
    assert made.devices == {"cuda": "a card"}
    found = labels(made, "train")
    ours = ["ours/float32", "ours/tf32", "ours/bfloat16"]
    assert found[:3] == ours
    assert "pytorch/tf32+compile+channels_last" in found
    assert "pytorch/amp+max-autotune+channels_last" in found
    by_label = {m.label: m for m in cases.training_modes("cuda")}
    assert by_label["pytorch/amp+max-autotune+channels_last"].options == {
        "tf32": True, "compile": "max-autotune", "autocast": True, "channels_last": True
    }  # fmt: skip
    assert by_label["ours/float32"].environment == {
        "JAX_DEFAULT_MATMUL_PRECISION": "highest"
    }
    sizes = {c.batch_size for c, _ in plan().planned if c.part == "train"}
    assert sizes == {8, 32, 128}
    assert made.steps == {"cuda": 30}


def test_workers_on_a_gpu(tmp_path):
    case = cases.Case("train", "cuda", "ctan", 32, 128, "hugepages", "full")
    mode = cases.training_modes("cuda")[0]
    found = measure.worker_environment(case, mode, threads=16, caches=tmp_path, user={})
    assert found["JAX_PLATFORMS"] == "cuda"
    assert found["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert found["JAX_DEFAULT_MATMUL_PRECISION"] == "highest"
    assert measure.worker_command()[1:] == ["-m", "benchmarks.throughput.worker"]


def test_quick_on_a_gpu_is_few():
    made = plan("--quick")
    assert {case.part for case, _ in made.planned} == {"products", "train", "inference"}
    assert {c.batch_size for c, _ in made.planned if c.part == "train"} == {32}
    assert labels(made, "train") == [
        "ours/tf32",
        "ours/bfloat16",
        "pytorch/tf32+compile+channels_last",
        "pytorch/amp+compile+channels_last",
        "pytorch/amp+max-autotune+channels_last",
    ]


def test_without_cuda_in_pytorch_ours_is_measured_alone_and_it_is_said():
    made = plan("--networks=single", theirs=CPU, reason="built without CUDA")
    assert all(m.framework == cases.OURS for _, modes in made.planned for m in modes)
    assert made.left_out == ["PyTorch on cuda: built without CUDA"]


def test_without_pytorch():
    made = plan(ours=CPU, theirs={}, reason="PyTorch is not installed")
    assert labels(made, "end_to_end")
    assert made.left_out == ["PyTorch on cpu: PyTorch is not installed"]


def test_an_absent_device_is_skipped_and_said():
    made = plan("--platform=cuda,cpu", ours=CPU, theirs=CPU, reason="no CUDA")
    assert {case.platform for case, _ in made.planned} == {"cpu"}
    assert made.left_out == ["cuda: no such device here (no CUDA)"]
    with pytest.raises(errors.ConfigError, match="nothing is left to measure: tpu"):
        plan("--platform=tpu")


def test_tpus_are_ours_alone():
    made = plan("--networks=ctan", ours=TPU, theirs=CPU)
    assert set(labels(made, "train")) == {
        "ours/float32", "ours/float32 fast products", "ours/bfloat16"
    }  # fmt: skip


def test_cpus_are_measured_with_both_allocators():
    made = plan("--parts=train", "--networks=ctan", ours=CPU, theirs=CPU)
    found = [(c.allocator, len(m)) for c, m in made.planned if c.part == "train"]
    assert found == [("default", 8), ("hugepages", 8)]
    quick = plan("--quick", ours=CPU, theirs=CPU)
    assert [(c.part, c.network, c.allocator) for c, _ in quick.planned] == [
        ("products", "", "hugepages"),
        ("train", "single", "hugepages"),
        ("inference", "single", "hugepages"),
    ]


def test_inference_has_modes_of_its_own():
    made = plan("--parts=train,inference", "--networks=single", ours=CPU, theirs=CPU)
    frozen = {"ours/frozen", "ours/frozen+ynn", "pytorch/frozen+compile+channels_last"}
    assert frozen <= set(labels(made, "inference"))
    assert not frozen & set(labels(made, "train"))


def test_modes_are_chosen_by_patterns():
    made = plan("--parts=train", "--modes=ours/*32,*eager", ours=CPU, theirs=CPU)
    assert set(labels(made, "train")) == {"ours/float32", "pytorch/eager"}
    with pytest.raises(errors.ConfigError, match="no mode matches nothing"):
        plan("--modes=nothing")


@pytest.mark.parametrize(
    "flag", ["--platform=gpu", "--parts=trian", "--networks=unet", "--repeats=0"]
)
def test_wrong_flags_are_usage_errors(flag, capsys):
    with pytest.raises(SystemExit) as ended:
        command.parse_flags([flag])
    assert ended.value.code == 2
    assert flag.split("=")[1] in capsys.readouterr().err


def test_each_mode_has_a_label_of_its_own():
    for platform in machine.PLATFORMS:
        for part in (*cases.PARTS, cases.PRODUCTS):
            case = cases.Case(part, platform, "single", 8, 128, "default", "full")
            found = [mode.label for mode in cases.modes(case)]
            assert len(found) == len(set(found))


def test_products_only_in_the_arithmetic_of_what_is_compared():
    flags = ("--modes=ours/float32,pytorch/eager", "--parts=train")
    made = plan(
        *flags, "--allocator=hugepages", "--networks=single", ours=CPU, theirs=CPU
    )
    assert labels(made, "products") == ["ours/float32", "pytorch/float32"]
