"""Which cases and modes are measured where; the query of the devices is replaced."""

import pytest

from benchmarks.throughput import __main__ as command
from benchmarks.throughput import cases, machine, measure
from mtl_jax.core import errors

CPU = {"cpu": "a processor"}
GPU = CPU | {"cuda": "a card"}
TPU = CPU | {"tpu": "a TPU"}


def make_plan(*flags, jax=GPU, torch=GPU, reason=""):
    frameworks = {
        cases.OURS: machine.Framework(jax),
        cases.PYTORCH: machine.Framework(torch, reason=reason),
    }
    return command.make_plan(command.parse_flags(flags), frameworks)


def labels(plan, part):
    return [m.label for case, modes in plan.planned if case.part == part for m in modes]


def test_a_gpu_is_taken_where_there_is_one():
    plan = make_plan("--networks=single", "--batch_sizes=8")
    assert {case.platform for case, _ in plan.planned} == {"cuda"}
    assert {case.allocator for case, _ in plan.planned} == {"default"}
    assert plan.devices == {"cuda": "a card"}
    modes = labels(plan, "train")
    ours = ["ours/float32", "ours/tf32", "ours/bfloat16"]
    assert modes[:3] == ours
    assert "pytorch/tf32+compile+channels_last" in modes
    assert "pytorch/amp+max-autotune+channels_last" in modes
    by_label = {m.label: m for m in cases.training_modes("cuda")}
    assert by_label["pytorch/amp+max-autotune+channels_last"].options == {
        "tf32": True, "compile": "max-autotune", "autocast": True, "channels_last": True
    }  # fmt: skip
    assert by_label["ours/float32"].environment == {
        "JAX_DEFAULT_MATMUL_PRECISION": "highest"
    }
    sizes = {c.batch_size for c, _ in make_plan().planned if c.part == "train"}
    assert sizes == {8, 32, 128}
    assert plan.steps == {"cuda": 30}


def test_workers_on_a_gpu(tmp_path):
    case = cases.Case("train", "cuda", "ctan", 32, 128, "hugepages", "full")
    mode = cases.training_modes("cuda")[0]
    environment = measure.worker_environment(
        case, mode, threads=16, caches=tmp_path, user={}
    )
    assert environment["JAX_PLATFORMS"] == "cuda"
    assert environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert environment["JAX_DEFAULT_MATMUL_PRECISION"] == "highest"
    assert measure.worker_command()[1:] == ["-m", "benchmarks.throughput.worker"]


def test_quick_on_a_gpu_is_few():
    plan = make_plan("--quick")
    assert {case.part for case, _ in plan.planned} == {"products", "train", "inference"}
    assert {c.batch_size for c, _ in plan.planned if c.part == "train"} == {32}
    assert labels(plan, "train") == [
        "ours/tf32",
        "ours/bfloat16",
        "pytorch/tf32+compile+channels_last",
        "pytorch/amp+compile+channels_last",
        "pytorch/amp+max-autotune+channels_last",
    ]


def test_without_cuda_in_pytorch_only_ours_is_measured_and_the_plan_says_so():
    plan = make_plan("--networks=single", torch=CPU, reason="built without CUDA")
    assert all(m.framework == cases.OURS for _, modes in plan.planned for m in modes)
    assert plan.left_out == ["PyTorch on cuda: built without CUDA"]


def test_without_pytorch():
    plan = make_plan(jax=CPU, torch={}, reason="PyTorch is not installed")
    assert labels(plan, "end_to_end")
    assert plan.left_out == ["PyTorch on cpu: PyTorch is not installed"]


def test_an_absent_device_is_skipped_and_reported():
    plan = make_plan("--platform=cuda,cpu", jax=CPU, torch=CPU, reason="no CUDA")
    assert {case.platform for case, _ in plan.planned} == {"cpu"}
    assert plan.left_out == ["cuda: no such device here (no CUDA)"]
    with pytest.raises(errors.ConfigError, match="nothing is left to measure: tpu"):
        make_plan("--platform=tpu")


def test_tpus_are_ours_alone():
    plan = make_plan("--networks=ctan", jax=TPU, torch=CPU)
    assert set(labels(plan, "train")) == {
        "ours/float32", "ours/float32 fast products", "ours/bfloat16"
    }  # fmt: skip


def test_cpus_are_measured_with_both_allocators():
    plan = make_plan("--parts=train", "--networks=ctan", jax=CPU, torch=CPU)
    counts = [(c.allocator, len(m)) for c, m in plan.planned if c.part == "train"]
    assert counts == [("default", 8), ("hugepages", 8)]
    quick = make_plan("--quick", jax=CPU, torch=CPU)
    assert [(c.part, c.network, c.allocator) for c, _ in quick.planned] == [
        ("products", "", "hugepages"),
        ("train", "single", "hugepages"),
        ("inference", "single", "hugepages"),
    ]


def test_inference_has_modes_of_its_own():
    plan = make_plan("--parts=train,inference", "--networks=single", jax=CPU, torch=CPU)
    frozen = {"ours/frozen", "ours/frozen+ynn", "pytorch/frozen+compile+channels_last"}
    assert frozen <= set(labels(plan, "inference"))
    assert not frozen & set(labels(plan, "train"))


def test_modes_are_chosen_by_patterns():
    plan = make_plan("--parts=train", "--modes=ours/*32,*eager", jax=CPU, torch=CPU)
    assert set(labels(plan, "train")) == {"ours/float32", "pytorch/eager"}
    with pytest.raises(errors.ConfigError, match="no mode matches nothing"):
        make_plan("--modes=nothing")


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
            labels = [mode.label for mode in cases.modes(case)]
            assert len(labels) == len(set(labels))


def test_products_only_in_the_arithmetic_of_the_compared_modes():
    flags = ("--modes=ours/float32,pytorch/eager", "--parts=train")
    plan = make_plan(
        *flags, "--allocator=hugepages", "--networks=single", jax=CPU, torch=CPU
    )
    assert labels(plan, "products") == ["ours/float32", "pytorch/float32"]
