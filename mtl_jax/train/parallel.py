"""Where a step runs: `jit` over a mesh, or `pmap`; the same methods, the same result.

Both spread the batch over the devices and keep the state on each of them. Where several
processes train together, the devices are those of all, each process hands in its rows
of the batch, in the order of the processes, and all have the same results.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mtl_jax.core import errors
from mtl_jax.train import distributed

AXIS = "batch"


class Backend(Protocol):
    """Devices and how a function of (state, batch) runs on them."""

    @property
    def axis_name(self) -> str | None:
        """The axis that a step must add over itself; None: XLA does."""
        ...

    @property
    def platform(self) -> str:
        """Of the devices: "cpu", "gpu" or "tpu"."""
        ...

    def put_state(self, state: Any) -> Any:
        """A host tree, on every device."""
        ...

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        """The process's rows [b, ...] of a host batch, spread over its devices."""
        ...

    def host(self, tree: Any) -> Any:
        """What a replicated tree holds, as NumPy arrays."""
        ...

    def update(self, function: Callable) -> Callable:
        """`function(state, batch) -> state`, compiled; the state is donated."""
        ...

    def sums(self, function: Callable) -> Callable:
        """`function(state, batch) -> sums over the batch`, compiled."""
        ...

    def predictions(self, function: Callable) -> Callable:
        """`function(state, image) -> arrays [B, ...]`, compiled."""
        ...

    def by_slice(self, function: Callable) -> Callable:
        """`predictions` of an image [b, ...] of the host; returns NumPy.

        What comes out are the rows of all processes.
        """
        ...


class Jit:
    """One program over a mesh of devices; XLA inserts the sums over the batch."""

    axis_name = None

    def __init__(self, devices: Sequence[jax.Device]):
        mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._spread = NamedSharding(mesh, PartitionSpec(AXIS))
        self._is_shared = not self._spread.is_fully_addressable
        self.platform: str = devices[0].platform

    def put_state(self, state: Any) -> Any:
        return self._place(state, self._everywhere)

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        return self._place(batch, self._spread)

    def _place(self, tree: Any, sharding: NamedSharding) -> Any:
        if not self._is_shared:
            return jax.device_put(tree, sharding)
        return jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
            tree,
        )

    def host(self, tree: Any) -> Any:
        return jax.device_get(tree)

    def update(self, function: Callable) -> Callable:
        return jax.jit(
            function,
            donate_argnums=0,
            in_shardings=(self._everywhere, self._spread),
            out_shardings=self._everywhere,
        )

    def sums(self, function: Callable) -> Callable:
        return jax.jit(
            function,
            in_shardings=(self._everywhere, self._spread),
            out_shardings=self._everywhere,
        )

    def predictions(self, function: Callable) -> Callable:
        return jax.jit(
            function,
            in_shardings=(self._everywhere, self._spread),
            out_shardings=self._spread,
        )

    def by_slice(self, function: Callable) -> Callable:
        compiled = self.predictions(function)

        def call(state: Any, image: np.ndarray) -> Any:
            outputs = compiled(state, self._place(image, self._spread))
            # Gathered by a program of its own: in the same one, XLA would gather the
            # decoders' maps and compute the rest of the network everywhere.
            return (
                distributed.gather(outputs) if self._is_shared else self.host(outputs)
            )

        return call


class Pmap:
    """One program a device; the step adds over `AXIS` itself."""

    axis_name = AXIS

    def __init__(self, devices: Sequence[jax.Device]):
        self._devices = list(devices)
        self._own = sum(d.process_index == jax.process_index() for d in devices)
        self.platform: str = devices[0].platform

    def put_state(self, state: Any) -> Any:
        count = self._own
        copies = jax.tree.map(lambda x: np.stack([np.asarray(x)] * count), state)
        return jax.pmap(lambda x: x, devices=self._devices)(copies)

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        return {name: self._split(array) for name, array in batch.items()}

    def host(self, tree: Any) -> Any:
        first = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
        return jax.tree.map(
            lambda one, x: one.reshape(x.shape[1:]), jax.device_get(first), tree
        )

    def update(self, function: Callable) -> Callable:
        return jax.pmap(
            function, axis_name=AXIS, devices=self._devices, donate_argnums=0
        )

    def sums(self, function: Callable) -> Callable:
        return jax.pmap(function, axis_name=AXIS, devices=self._devices)

    def predictions(self, function: Callable) -> Callable:
        return jax.pmap(function, axis_name=AXIS, devices=self._devices)

    def by_slice(self, function: Callable) -> Callable:
        compiled = self.predictions(function)

        def call(state: Any, image: np.ndarray) -> Any:
            outputs = compiled(state, self._split(image))
            own = jax.tree.map(
                lambda x: np.concatenate(_shards(x)).reshape(-1, *x.shape[2:]), outputs
            )
            return distributed.gather(own)

        return call

    def _split(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(self._own, -1, *array.shape[1:])


def _shards(array: jax.Array) -> list[np.ndarray]:
    """The parts of `array` on this process's devices, in their order."""
    shards = sorted(array.addressable_shards, key=lambda s: s.index[0].start or 0)
    return jax.device_get([shard.data for shard in shards])


BACKENDS: dict[str, type[Jit] | type[Pmap]] = {"jit": Jit, "pmap": Pmap}


def backend(
    name: str,
    *,
    devices: int,
    batch_size: int,
    accumulate: int,
    evaluate_batch_size: int,
) -> Backend:
    """The backend called `name` over the first `devices` devices; 0 takes all.

    Of several processes each gives as many.

    Raises:
        ConfigError: fewer devices than asked for, or a batch they cannot share equally.
    """
    used = choose(devices)
    check_divides("train.batch_size", batch_size, len(used), accumulate)
    check_divides("evaluate.batch_size", evaluate_batch_size, len(used), 1)
    return BACKENDS[name](used)


def choose(devices: int) -> list[jax.Device]:
    """`devices` devices, those of a process next to each other; 0 takes all."""
    found = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    processes = jax.process_count()
    if devices > len(found):
        raise errors.ConfigError(
            f"train.devices is {devices}, but JAX finds {len(found)} "
            f"({found[0].platform}): give at most that"
        )
    if devices % processes:
        raise errors.ConfigError(
            f"train.devices is {devices}, which {processes} processes cannot give in "
            f"equal parts: give {errors.nearest_multiples(devices, processes)}, or 0 "
            "for all"
        )
    share = devices // processes or len(found)
    of_process = [[d for d in found if d.process_index == k] for k in range(processes)]
    return [device for own in of_process for device in own[:share]]


def for_prediction(batch_size: int) -> tuple[Backend, int]:
    """All devices of this process, and `batch_size` or the next that they can share."""
    found = jax.local_devices()
    return Jit(found), -(-batch_size // len(found)) * len(found)


def check_divides(key: str, batch_size: int, devices: int, parts: int) -> None:
    """A ConfigError, with the nearest that can be, for a batch not to be shared out."""
    share = devices * parts
    if batch_size % share:
        raise errors.ConfigError(
            f"{key} is {batch_size}, which {devices} devices cannot share in {parts} "
            f"equal parts each: give {errors.nearest_multiples(batch_size, share)}, or "
            "set train.devices"
        )
