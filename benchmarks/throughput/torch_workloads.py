"""PyTorch's training step, inference and matrix products: a Spec in, a Workload out.

Options of a mode: `channels_last`, `autocast` (bfloat16), `tf32`, and `compile`, whose
value is the mode of `torch.compile`.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.pytorch import networks, objective, training
from benchmarks.throughput import cases, workload
from mtl_jax.core import roles

# Keys of a configuration's model that determine the function it computes.
MODEL_KEYS = (
    "stage_sizes", "width", "decoder_widths", "cross_gating", "attended_skips",
    "bottleneck", "bottleneck_width", "gamma_init", "image_skip", "contour_head",
)  # fmt: skip
WARM_UP_STEPS = 3  # torch.compile settles, and CUDA graphs are recorded


def train(spec: workload.Spec) -> workload.Workload:
    """Updates of the network on a batch on the device."""
    device = set_up(spec)
    config = cases.make_config(spec.case, spec.mode)
    trainer = make_training(spec, config, device)
    batch = move_to_device(
        training.as_tensors(workload.noise_batch(config, 1)), spec, device
    )
    step = mark_steps(spec, lambda: trainer.step(batch))
    return make_workload(spec, step, config.train.batch_size)


def inference(spec: workload.Spec) -> workload.Workload:
    """Dose and contour probabilities of a batch on the device."""
    device = set_up(spec)
    config = cases.make_config(spec.case, spec.mode)
    predict = make_predict(spec, config, device)
    batch = move_to_device(
        training.as_tensors(workload.noise_batch(config, 1)), spec, device
    )
    image = batch["image"]
    return make_workload(spec, lambda: predict(image), config.train.batch_size)


def set_up(spec: workload.Spec) -> torch.device:
    """Set the threads and arithmetic of the mode; returns the device."""
    torch.set_num_threads(spec.threads)
    tf32 = bool(spec.mode.options.get("tf32"))
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    return torch.device(spec.case.platform)


def make_network(spec: workload.Spec, config: Any, device: torch.device) -> nn.Module:
    """The network of `config` on `device`, in the mode's memory layout."""
    role = roles.get(config.role)
    settings = {name: config.model[name] for name in MODEL_KEYS}
    network = networks.build_network(
        network=role.network,
        tasks=role.tasks,
        structures=len(config.data.structures),
        **settings,
    ).to(device)
    if spec.mode.options.get("channels_last"):
        return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network


def compile_if_chosen(spec: workload.Spec, module: Any) -> Any:
    """`module`, compiled by torch.compile if the mode says so."""
    mode = spec.mode.options.get("compile")
    if not mode:
        return module
    return torch.compile(module, mode=mode, dynamic=False)


def make_training(
    spec: workload.Spec, config: Any, device: torch.device
) -> training.Training:
    """The training step with its network, losses and fused Adam."""
    tasks = roles.get(config.role).tasks
    loss = objective.Objective(
        tasks,
        dice_weight=config.loss.dice_weight,
        cross_entropy_weight=config.loss.cross_entropy_weight,
        smooth=config.loss.dice_smooth,
        dose_region=config.loss.dose_region,
        dose_slices=config.loss.dose_slices,
    )
    return training.Training(
        compile_if_chosen(spec, make_network(spec, config, device)),
        compile_if_chosen(spec, loss),
        tasks,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        no_decay=config.optimizer.no_decay,
        dwa_temperature=config.dwa.temperature,
        dwa_interval=cases.EPOCH,
        autocast=torch.bfloat16 if spec.mode.options.get("autocast") else None,
    )


def make_predict(
    spec: workload.Spec, config: Any, device: torch.device
) -> Callable[[torch.Tensor], dict[str, torch.Tensor]]:
    """Maps images [B, C, H, W] to dose and probabilities, [B, ..., H, W] float32."""
    network = compile_if_chosen(spec, make_network(spec, config, device).eval())
    autocast = bool(spec.mode.options.get("autocast"))

    @torch.inference_mode()
    def predict(image: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            outputs = dict(network(image))
        if "contours" in outputs:
            outputs["contours"] = outputs["contours"].sigmoid()
        return outputs

    return mark_steps(spec, predict)


def mark_steps(spec: workload.Spec, step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`; each call tells CUDA graphs that the last outputs may be overwritten."""
    if spec.mode.options.get("compile") != "max-autotune":
        return step

    def marked(*arguments: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return step(*arguments)

    return marked


def move_to_device(
    batch: training.Batch, spec: workload.Spec, device: torch.device
) -> training.Batch:
    """`batch` on `device`, without waiting; the image in the mode's layout."""
    channels_last = bool(spec.mode.options.get("channels_last"))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    moved = {
        name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()
    }
    moved["image"] = moved["image"].contiguous(memory_format=layout)
    return moved


def wait() -> None:
    """Wait until the device has finished; a no-op on CPUs."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def make_workload(
    spec: workload.Spec, step: Callable[[], Any], images: int
) -> workload.Workload:
    """A Workload of `step`; compilation is the first call's time less a later one's."""

    def timed() -> float:
        start = time.perf_counter()
        step()
        wait()
        return time.perf_counter() - start

    first, ended, compile_seconds = timed(), time.time(), None
    if spec.mode.options.get("compile"):
        compile_seconds = first - [timed() for _ in range(WARM_UP_STEPS)][-1]
    return workload.Workload(
        turn=workload.repeat(step, wait, images),
        first_step=ended,
        compile_seconds=compile_seconds,
        device_bytes=device_bytes,
        release=release,
    )


def device_bytes() -> int | None:
    """Peak memory of the device in bytes; None on CPUs."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def release() -> None:
    """Free the cached memory of the device for the other modes."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def products(spec: workload.Spec) -> workload.Workload:
    """The matrix product with the highest rate; each product counts as one image."""
    device = set_up(spec)
    bfloat16 = spec.mode.arithmetic == "bfloat16"
    dtype = torch.bfloat16 if bfloat16 else torch.float32

    def square(side: int) -> Callable[[int], workload.Turn]:
        matrix = torch.randn(side, side, device=device, dtype=dtype)
        return workload.repeat(lambda: torch.mm(matrix, matrix), wait, 1)

    return workload.fastest_product(spec.case, square, device_bytes, release)
