"""PyTorch's input pipeline, training loop and prediction: a Spec in, a Workload out.

A DataLoader reads the same shards as ours does, with the same preprocessing.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils import data as torch_data

from benchmarks.pytorch import training
from benchmarks.throughput import data_workloads, torch_workloads, workload
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import batches
from mtl_jax.run import wiring


class Slices(torch_data.Dataset):
    """The slices of a split that show a body; reads a whole batch at once."""

    def __init__(self, split: prepared.Split, config: Any):
        self._indices = split.slice_indices(config.data.skip_empty_slices)
        preprocess = wiring.make_preprocess(config, config.data)
        self._load = batches.Loader.of(split, preprocess, None)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: int) -> training.Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: list[int]) -> training.Batch:
        """The batch of slices at `positions`, tensors [B, C, H, W]."""
        batch = self._load(self._indices[positions], len(positions))
        return training.as_tensors(batch)


def repeat_epochs(
    slices: Slices, *, batch_size: int, workers: int, pinned: bool
) -> Iterator[training.Batch]:
    """Shuffled batches without end; the `workers` processes end with the iterator.

    Pinned memory lets a batch move to the device while another one is computed.
    """
    loader = torch_data.DataLoader(
        slices,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned,
        collate_fn=lambda batch: batch,  # is a batch already
    )
    while True:
        yield from loader


def pipeline(spec: workload.Spec) -> workload.Workload:
    """Batches as tensors, without a network."""
    config, data = data_workloads.prepare(spec)
    slices = Slices(data.splits["train"], config)
    workers = spec.mode.options["workers"]

    def start() -> Iterator[int]:
        for batch in repeat_epochs(
            slices,
            batch_size=spec.case.batch_size,
            workers=data_workloads.reader_count(spec) if workers < 0 else workers,
            pinned=spec.case.platform == "cuda",
        ):
            yield len(batch["mask"])

    return data_workloads.make_reading(spec, start)


def end_to_end(spec: workload.Spec) -> workload.Workload:
    """A training loop: reads, transfers, updates, and logs as often as ours."""
    device = torch_workloads.set_up(spec)
    config, data = data_workloads.prepare(spec)
    slices = Slices(data.splits["train"], config)
    trainer = torch_workloads.make_training(spec, config, device)
    batch_size = config.train.batch_size
    untimed = data_workloads.untimed_steps(spec.case)

    def turn(steps: int) -> workload.Turn:
        loaded = repeat_epochs(
            slices,
            batch_size=batch_size,
            workers=data_workloads.reader_count(spec),
            pinned=device.type == "cuda",
        )
        begin = 0.0
        for number in range(1, untimed + steps + 1):
            batch = torch_workloads.move_to_device(next(loaded), spec, device)
            losses = trainer.step(batch)
            if number % config.train.log_every == 0:
                {name: float(value) for name, value in losses.items()}
            if number == untimed:
                torch_workloads.wait()
                begin = time.perf_counter()
        torch_workloads.wait()
        seconds = time.perf_counter() - begin
        loaded.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
        return workload.Turn(seconds, steps, steps * batch_size)

    turn(1)
    return workload.Workload(
        turn=turn,
        first_step=time.time(),
        compile_seconds=None,
        device_bytes=torch_workloads.device_bytes,
        release=torch_workloads.release,
    )


def evaluation(spec: workload.Spec) -> workload.Workload:
    """Whole patients: read, predicted, and resampled onto their own grids."""
    device = torch_workloads.set_up(spec)
    config, _ = data_workloads.prepare(spec)
    predict = torch_workloads.make_predict(spec, config, device)

    def network(image: np.ndarray) -> dict[str, np.ndarray]:
        tensors = training.as_tensors({"image": image})
        batch = torch_workloads.move_to_device(tensors, spec, device)
        outputs = predict(batch["image"])
        return {
            task: output.permute(0, 2, 3, 1).cpu().numpy()
            for task, output in outputs.items()
        }

    return data_workloads.make_prediction(
        spec,
        network,
        device_bytes=torch_workloads.device_bytes,
        release=torch_workloads.release,
    )
