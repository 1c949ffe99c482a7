"""PyTorch's training step, inference and matrix products, as Jobs.

Options of a mode: `channels_last`, `autocast` (bfloat16), `tf32`, and `compile` with
the mode of `torch.compile`.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.pytorch import networks, objective, training
from benchmarks.throughput import cases, job
from mtl_jax.core import roles

# The keys of a configuration's model that say which function it is.
SHAPE = (
    "stage_sizes", "width", "decoder_widths", "cross_gating", "attended_skips",
    "bottleneck", "bottleneck_width", "gamma_init", "contour_head",
)  # fmt: skip
WARM_UP = 3  # steps in which torch.compile settles, and CUDA graphs are recorded


def train(spec: job.Spec) -> job.Job:
    """Updates of the network on a batch that lies on the device."""
    device = set_up(spec)
    config = cases.config(spec.case, spec.mode)
    trainer = make_training(spec, config, device)
    batch = place(training.as_tensors(job.noise_batch(config, 1)), spec, device)
    step = stepping(spec, lambda: trainer.step(batch))
    return make_job(spec, step, config.train.batch_size)


def inference(spec: job.Spec) -> job.Job:
    """Dose and probabilities of a batch that lies on the device."""
    device = set_up(spec)
    config = cases.config(spec.case, spec.mode)
    predict = make_predict(spec, config, device)
    batch = place(training.as_tensors(job.noise_batch(config, 1)), spec, device)
    image = batch["image"]
    return make_job(spec, lambda: predict(image), config.train.batch_size)


def set_up(spec: job.Spec) -> torch.device:
    """Set threads and arithmetic as the mode says; the device."""
    torch.set_num_threads(spec.threads)
    tf32 = bool(spec.mode.options.get("tf32"))
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    return torch.device(spec.case.platform)


def make_network(spec: job.Spec, config: Any, device: torch.device) -> nn.Module:
    """The network of `config` on `device`, in the mode's layout."""
    role = roles.get(config.role)
    settings = {name: config.model[name] for name in SHAPE}
    network = networks.build_network(
        network=role.network,
        tasks=role.tasks,
        structures=len(config.data.structures),
        **settings,
    ).to(device)
    if spec.mode.options.get("channels_last"):
        return network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return network


def compiled(spec: job.Spec, module: Any) -> Any:
    """`module` through torch.compile, if the mode says so."""
    mode = spec.mode.options.get("compile")
    if not mode:
        return module
    return torch.compile(module, mode=mode, dynamic=False)


def make_training(
    spec: job.Spec, config: Any, device: torch.device
) -> training.Training:
    """The step's owner: network, losses and fused Adam."""
    tasks = roles.get(config.role).tasks
    loss = objective.Objective(
        tasks,
        dice_weight=config.loss.dice_weight,
        cross_entropy_weight=config.loss.cross_entropy_weight,
        smooth=config.loss.dice_smooth,
    )
    return training.Training(
        compiled(spec, make_network(spec, config, device)),
        compiled(spec, loss),
        tasks,
        learning_rate=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        dwa_temperature=config.dwa.temperature,
        dwa_interval=cases.EPOCH,
        autocast=torch.bfloat16 if spec.mode.options.get("autocast") else None,
    )


def make_predict(
    spec: job.Spec, config: Any, device: torch.device
) -> Callable[[torch.Tensor], dict[str, torch.Tensor]]:
    """Images [B, C, H, W] to dose and probabilities, both [B, ..., H, W] float32."""
    network = compiled(spec, make_network(spec, config, device).eval())
    autocast = bool(spec.mode.options.get("autocast"))

    @torch.inference_mode()
    def predict(image: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=autocast):
            outputs = dict(network(image))
        if "contours" in outputs:
            outputs["contours"] = outputs["contours"].sigmoid()
        return outputs

    return stepping(spec, predict)


def stepping(spec: job.Spec, step: Callable[..., Any]) -> Callable[..., Any]:
    """`step`, told to CUDA graphs: what the last one gave may be overwritten."""
    if spec.mode.options.get("compile") != "max-autotune":
        return step

    def marked(*arguments: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return step(*arguments)

    return marked


def place(
    batch: training.Batch, spec: job.Spec, device: torch.device
) -> training.Batch:
    """`batch` on `device`, without waiting, the image in the mode's layout."""
    last = bool(spec.mode.options.get("channels_last"))
    layout = torch.channels_last if last else torch.contiguous_format
    moved = {
        name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()
    }
    moved["image"] = moved["image"].contiguous(memory_format=layout)
    return moved


def wait() -> None:
    """Until the device has done all that was asked; CPUs have."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def make_job(spec: job.Spec, step: Callable[[], Any], images: int) -> job.Job:
    """A Job of `step`; compilation is what its first call takes over a later one."""

    def timed() -> float:
        start = time.perf_counter()
        step()
        wait()
        return time.perf_counter() - start

    first, ended, compile_seconds = timed(), time.time(), None
    if spec.mode.options.get("compile"):
        compile_seconds = first - [timed() for _ in range(WARM_UP)][-1]
    return job.Job(
        turn=job.repeated(step, wait, images),
        first_step=ended,
        compile_seconds=compile_seconds,
        device_bytes=device_bytes,
        rest=rest,
    )


def device_bytes() -> int | None:
    """Most memory of the device that was in use; None on CPUs."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def rest() -> None:
    """Give cached memory of the device back to the other modes."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def products(spec: job.Spec) -> job.Job:
    """The matrix product with the highest rate; an image is a product here."""
    device = set_up(spec)
    bfloat16 = spec.mode.arithmetic == "bfloat16"
    dtype = torch.bfloat16 if bfloat16 else torch.float32

    def square(side: int) -> Callable[[int], job.Turn]:
        left = torch.randn(side, side, device=device, dtype=dtype)
        return job.repeated(lambda: torch.mm(left, left), wait, 1)

    return job.fastest_product(spec.case, square, device_bytes, rest)
