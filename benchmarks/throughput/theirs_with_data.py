"""PyTorch's input pipeline, training loop and volume prediction, as Jobs.

A DataLoader reads the same shards through the same preprocessing as ours.
"""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils import data as torch_data

from benchmarks.pytorch import training
from benchmarks.throughput import data, job, theirs
from mtl_jax.datasets import prepared
from mtl_jax.pipeline import batches
from mtl_jax.run import wiring


class Slices(torch_data.Dataset):
    """The slices of a split that show a body; a batch of them is read in one go."""

    def __init__(self, split: prepared.Split, config: Any):
        self._indices = split.slice_indices(config.data.skip_empty_slices)
        self._load = batches.Loader(
            split.source,
            batches.patient_of_slice(split),
            wiring.make_preprocess(config, config.data),
            None,
        )

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, position: int) -> training.Batch:
        return self.__getitems__([position])

    def __getitems__(self, positions: list[int]) -> training.Batch:
        """The batch of slices at `positions`, tensors [B, C, H, W]."""
        read = self._load(self._indices[positions], len(positions), (), 0)
        return training.as_tensors(read)


def endless(
    slices: Slices, *, batch_size: int, workers: int, pinned: bool
) -> Iterator[training.Batch]:
    """Shuffled batches, epoch after epoch; `workers` processes end with the iterator.

    In pinned memory, a batch goes to the device while others are computed.
    """
    loader = torch_data.DataLoader(
        slices,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned,
        collate_fn=lambda batch: batch,  # whole already
    )
    while True:
        yield from loader


def pipeline(spec: job.Spec) -> job.Job:
    """Batches as tensors, without a network."""
    config, found = data.config_and_data(spec)
    slices = Slices(found.splits["train"], config)
    workers = spec.mode.options["workers"]

    def start() -> Iterator[int]:
        for batch in endless(
            slices,
            batch_size=spec.case.batch_size,
            workers=data.readers(spec) if workers < 0 else workers,
            pinned=spec.case.platform == "cuda",
        ):
            yield len(batch["mask"])

    return data.reading(spec, start)


def end_to_end(spec: job.Spec) -> job.Job:
    """A training loop: reads, places, updates, logs as often as ours."""
    device = theirs.set_up(spec)
    config, found = data.config_and_data(spec)
    slices = Slices(found.splits["train"], config)
    trainer = theirs.make_training(spec, config, device)
    size, untimed = config.train.batch_size, data.untimed_steps(spec.case)

    def turn(steps: int) -> job.Turn:
        read = endless(
            slices,
            batch_size=size,
            workers=data.readers(spec),
            pinned=device.type == "cuda",
        )
        begin = 0.0
        for number in range(1, untimed + steps + 1):
            losses = trainer.step(theirs.place(next(read), spec, device))
            if number % config.train.log_every == 0:
                {name: float(value) for name, value in losses.items()}
            if number == untimed:
                theirs.wait()
                begin = time.perf_counter()
        theirs.wait()
        seconds = time.perf_counter() - begin
        read.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
        return job.Turn(seconds, steps, steps * size)

    turn(1)
    return job.Job(
        turn=turn,
        first_step=time.time(),
        compile_seconds=None,
        device_bytes=theirs.device_bytes,
        rest=theirs.rest,
    )


def evaluation(spec: job.Spec) -> job.Job:
    """Whole patients: read, predicted, and brought back onto their own grids."""
    device = theirs.set_up(spec)
    config, _ = data.config_and_data(spec)
    predict = theirs.make_predict(spec, config, device)

    def network(image: np.ndarray) -> dict[str, np.ndarray]:
        tensors = training.as_tensors({"image": image})
        batch = theirs.place(tensors, spec, device)
        outputs = predict(batch["image"])
        return {
            task: output.permute(0, 2, 3, 1).cpu().numpy()
            for task, output in outputs.items()
        }

    return data.predicting(
        spec, network, device_bytes=theirs.device_bytes, rest=theirs.rest
    )
