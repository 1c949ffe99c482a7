"""Five steps of a network in each framework, and their results for comparison.

The steps are `mtl_jax.train.step.Step` and `benchmarks.pytorch.training.Training`, with
DWA's interval of one step, so that the weights change.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
import torch
from torch import nn

from benchmarks.pytorch import cases, objective, training, weights
from mtl_jax.losses import objective as flax_objective
from mtl_jax.models import networks as flax_networks
from mtl_jax.models import parameters, torch_names
from mtl_jax.train import state as states
from mtl_jax.train import step as steps

Arrays = dict[str, np.ndarray]

LEARNING_RATE = 1e-4
WEIGHT_DECAY = 1e-5
NO_DECAY = ("bottleneck",)
LOSS = {
    "dice_weight": 0.3,
    "cross_entropy_weight": 0.7,
    "dice_per_sample": False,
    "dice_smooth": 1e-5,
    "dose_region": "possible",
    "dose_slices": "possible",
    "contour_head": "sigmoid",
}
DWA_TEMPERATURE = 2.0
DWA_INTERVAL = 1
# Compiling takes longer than the steps, so machine code is not optimised.
COMPILER_OPTIONS = {"xla_backend_optimization_level": 0}


@dataclasses.dataclass(frozen=True)
class Run:
    """The results of a network's steps, by torch's names and layouts."""

    evaluated: Arrays  # outputs before the first step, by task
    trained: Arrays  # outputs of the first step
    gradients: list[Arrays]  # of a first step, by the batch it is made on
    statistics: Arrays  # of batch-norm, after the first step
    losses: np.ndarray  # [steps, K]
    weights: np.ndarray  # [steps, K], DWA's
    parameters: Arrays  # after the last step


def run_flax(
    case: cases.Case, size: cases.Size, dtype: np.dtype, start: parameters.Variables
) -> Run:
    """Steps of `mtl_jax` from the variables `start`; float64 needs `jax.enable_x64`."""
    adam = states.optimizer(
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        no_decay=NO_DECAY,
        b1=0.9,
        b2=0.999,
        eps=1e-8,
    )
    step = steps.Step(
        network=_WithOutputs(cases.flax_network(case, size, dtype)),  # pyright: ignore[reportArgumentType]
        objective=flax_objective.Objective(case.tasks, LOSS),
        transform=optax.chain(_keep_gradient(), adam),
        dwa_temperature=DWA_TEMPERATURE,
        dwa_interval=DWA_INTERVAL,
        accumulate=1,
        log_every=1,
        axis_name=None,
    )

    @functools.partial(jax.jit, compiler_options=COMPILER_OPTIONS)
    def update(state: states.TrainState, batch: Any) -> Any:
        evaluated = step.outputs(state, batch["image"])
        state = step.train(state, batch)
        statistics, trained = state.batch_stats
        state = dataclasses.replace(state, batch_stats=statistics)
        return state, evaluated, trained

    state = states.create(
        start, step.transform, tasks=len(case.tasks), metrics=step.metrics
    )
    batches = cases.draw_batches(case, size, dtype)
    first_steps = [jax.device_get(update(state, batch)) for batch in batches]
    first, evaluated, trained = first_steps[0]
    made = [first]
    for batch in batches[1:]:
        made.append(jax.device_get(update(made[-1], batch)[0]))
    return Run(
        evaluated={task: x.transpose(0, 3, 1, 2) for task, x in evaluated.items()},
        trained={task: x.transpose(0, 3, 1, 2) for task, x in trained.items()},
        gradients=[
            torch_names.to_torch({"params": state.opt_state[0]})
            for state, _, _ in first_steps
        ],
        statistics=torch_names.to_torch({"batch_stats": first.batch_stats}),
        losses=_table([state.window for state in made], "loss", case.tasks),
        weights=_table([state.window for state in made], "weight", case.tasks),
        parameters=torch_names.to_torch({"params": made[-1].params}),
    )


def run_torch(
    case: cases.Case, size: cases.Size, dtype: np.dtype, start: parameters.Variables
) -> tuple[Run, dict[str, list[int]]]:
    """Steps of this package, and for each batch-norm the n of its calls in a step."""
    batches = [training.as_tensors(x) for x in cases.draw_batches(case, size, dtype)]
    first_steps = [start_training(case, size, dtype, start) for _ in batches]
    run = first_steps[0]
    outputs: list[Arrays] = []
    counted: dict[str, list[int]] = {}
    hooks = [
        run.network.register_forward_hook(lambda *call: outputs.append(_numpy(call[2])))
    ]
    run.network.eval()
    with torch.inference_mode():
        run.network(batches[0]["image"])
    run.network.train()
    for name, module in run.network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            count = functools.partial(_count, counted.setdefault(name, []))
            hooks.append(module.register_forward_hook(count))
    pairs = zip(first_steps, batches, strict=True)
    logs = [trainer.step(batch) for trainer, batch in pairs][:1]
    for hook in hooks:
        hook.remove()
    evaluated, trained = outputs
    gradients = [
        _numpy(
            {
                name: parameter.grad
                for name, parameter in trainer.network.named_parameters()
                if parameter.grad is not None
            }
        )
        for trainer in first_steps
    ]
    buffers = dict(run.network.named_buffers())
    statistics = _numpy({name: buffers[name] for name in buffers if "running" in name})
    logs += [run.step(batch) for batch in batches[1:]]
    results = Run(
        evaluated=evaluated,
        trained=trained,
        gradients=gradients,
        statistics=statistics,
        losses=_table(logs, "loss", case.tasks),
        weights=_table(logs, "weight", case.tasks),
        parameters=_numpy(dict(run.network.named_parameters())),
    )
    return results, counted


def start_training(
    case: cases.Case,
    size: cases.Size,
    dtype: np.dtype,
    start: parameters.Variables,
) -> training.Training:
    """Training from the variables `start`, before its first step."""
    network = cases.torch_network(case, size, dtype)
    network.load_state_dict(weights.to_torch(start))
    return training.Training(
        network,
        objective.Objective(case.tasks),
        case.tasks,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        no_decay=NO_DECAY,
        dwa_temperature=DWA_TEMPERATURE,
        dwa_interval=DWA_INTERVAL,
    )


class _WithOutputs:
    """A network that returns its outputs in training too, with the statistics.

    The step passes them on, so the network is not compiled a second time.
    """

    def __init__(self, network: flax_networks.Network):
        self._network = network

    def apply(self, variables: Any, image: jax.Array, *, train: bool, **rest: Any):
        result: Any = self._network.apply(variables, image, train=train, **rest)
        if not train:
            return result
        outputs, updated = result
        return outputs, {"batch_stats": (updated["batch_stats"], outputs)}


def _keep_gradient() -> optax.GradientTransformation:
    """Changes nothing; its state is the last gradient."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(np.zeros_like, params),
        lambda grads, *_: (grads, grads),
    )


def _count(counts: list[int], module: nn.Module, inputs: Any, output: Any) -> None:
    """A forward hook that notes over how many values batch-norm averages."""
    counts.append(output.numel() // output.shape[1])


def _numpy(tensors: Mapping[str, torch.Tensor]) -> Arrays:
    return {name: t.detach().numpy().copy() for name, t in tensors.items()}


def _table(
    logs: Sequence[Mapping[str, Any]], kind: str, tasks: Sequence[str]
) -> np.ndarray:
    return np.array([[float(log[f"{kind}/{task}"]) for task in tasks] for log in logs])
