"""The training step in PyTorch: precision, Adam's forms, no reading from the device."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e .[torch]")

from benchmarks.pytorch import cases, objective, training

FLOAT32 = np.dtype("float32")
CASE = cases.CASES["ctan"]


def build(
    *, device: str = "cpu", dtype: torch.dtype = torch.float32, **settings
) -> training.Training:
    torch.manual_seed(0)
    network = cases.torch_network(CASE, cases.TINY, FLOAT32).to(device, dtype)
    loss = objective.Objective(CASE.tasks)
    return training.Training(network, loss, CASE.tasks, dwa_interval=1, **settings)


@pytest.fixture(scope="module")
def batches() -> list[training.Batch]:
    drawn = cases.draw_batches(CASE, cases.TINY, FLOAT32)[:3]
    return [training.as_tensors({**batch, "patient": None}) for batch in drawn]


def test_a_batch_of_ours_as_tensors(batches) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in batches[0].items()}
    assert shapes == {
        "image": (4, 1, 32, 48),
        "contours": (4, 4, 32, 48),
        "present": (4, 4),
        "dose": (4, 1, 32, 48),
        "possible_dose": (4, 1, 32, 48),
        "has_dose": (4,),
        "mask": (4,),
    }
    (drawn, *_) = cases.draw_batches(CASE, cases.TINY, FLOAT32)
    assert batches[0]["contours"][1, 2, 3, 4] == drawn["contours"][1, 3, 4, 2]


def test_steps_lower_the_losses(batches) -> None:
    run = build(learning_rate=1e-2)
    logs = [run.step(batches[0]) for _ in range(8)]
    for task in CASE.tasks:
        assert logs[-1][f"loss/{task}"] < logs[0][f"loss/{task}"]
        assert not logs[-1][f"loss/{task}"].requires_grad
        assert logs[0][f"weight/{task}"] == 1


def test_fused_adam_is_adam() -> None:
    drawn = cases.draw_batches(CASE, cases.TINY, np.dtype("float64"))[:3]
    found = {}
    for fused in (False, True):
        run = build(fused=fused, weight_decay=0.1, dtype=torch.float64)
        for batch in drawn:
            run.step(training.as_tensors(batch))
        found[fused] = dict(run.network.named_parameters())
    for name, parameter in found[False].items():
        torch.testing.assert_close(found[True][name], parameter, rtol=0, atol=1e-10)


@pytest.mark.parametrize("compiled", [False, True])
def test_modules_are_left_out_of_the_decay_by_our_names(compiled: bool) -> None:
    network = cases.torch_network(CASE, cases.TINY, FLOAT32)
    names = {id(p): name for name, p in network.named_parameters()}
    groups = training.parameter_groups(
        torch.compile(network) if compiled else network,
        0.1,
        ("bottleneck", "decoder_dose"),
    )
    modules = {
        group["weight_decay"]: {
            names[id(p)].rsplit(".", 1)[0].partition(".block")[0]
            for p in group["params"]
        }
        for group in groups
    }
    assert set(modules) == {0.1, 0.0}
    assert "decoder.contours" in modules[0.1] and "head.dose.project" in modules[0.1]
    left_out = {n for n in modules[0.0] if not n.startswith("bottleneck")}
    assert left_out == {"decoder.dose"}
    assert "bottleneck.gamma" in modules[0.0]
    assert not any(name.startswith("bottleneck") for name in modules[0.1])
    assert sum(len(group["params"]) for group in groups) == len(names)


def test_autocast_computes_in_bfloat16_and_keeps_float32_parameters(batches) -> None:
    exact, near = build(), build(autocast=torch.bfloat16)
    expected, found = exact.step(batches[0]), near.step(batches[0])
    for task in CASE.tasks:
        a, b = expected[f"loss/{task}"].item(), found[f"loss/{task}"].item()
        assert a != b
        assert a == pytest.approx(b, rel=0.03)
    kinds = {parameter.dtype for parameter in near.network.parameters()}
    assert kinds == {torch.float32}


def test_float16_is_refused() -> None:
    with pytest.raises(ValueError, match=r"autocast is torch\.float16; expected"):
        build(autocast=torch.float16)


def test_a_step_never_reads_from_the_device(batches) -> None:
    run = build(device="meta", fused=False)  # tensors without values: nothing to read
    for batch in batches:
        log = run.step({name: tensor.to("meta") for name, tensor in batch.items()})
    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        log["loss/dose"].item()
    assert log["weight/dose"].device.type == "meta"


def test_network_and_objective_compile_as_one_graph_each(batches) -> None:
    torch.manual_seed(0)
    network = cases.torch_network(CASE, cases.TINY, FLOAT32)
    run = training.Training(
        torch.compile(network, backend="eager", fullgraph=True),
        torch.compile(objective.Objective(CASE.tasks), backend="eager", fullgraph=True),
        CASE.tasks,
        dwa_interval=1,
    )
    found, expected = run.step(batches[0]), build().step(batches[0])
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
