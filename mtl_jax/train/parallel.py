"""The devices that a step runs on: `jit` over a mesh, or `pmap`; the same result.

Input: functions of a state and a batch. Output: the same functions, compiled. The batch
is spread over the devices, and each device holds the whole state. If several processes
train together, the devices are those of all processes; each process gives its rows of
the batch, in the order of the processes, and all get the same results.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mtl_jax.core import errors
from mtl_jax.train import compiler_options, distributed

AXIS = "batch"


class Backend(Protocol):
    """Devices, and how a function of (state, batch) runs on them."""

    @property
    def axis_name(self) -> str | None:
        """The axis that the step must sum over; None: XLA sums over the devices."""
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

    def stacked(self) -> "Backend":
        """The same devices for batches [K, b, ...] of several steps.

        Raises:
            ConfigError: the backend takes one batch at a time.
        """
        ...

    def host(self, tree: Any) -> Any:
        """A replicated tree as NumPy arrays."""
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

    def replicated(self, function: Callable) -> Callable:
        """`function(*trees) -> tree`, all of them as `put_state` leaves them; compiled.

        Nothing is donated, so it also copies what the next update will overwrite.
        """
        ...

    def by_slice(self, function: Callable) -> Callable:
        """`predictions` for images [b, ...] on the host, for the rows of all processes.

        They are arrays that NumPy can read, which waits until they are computed.
        """
        ...


class Jit:
    """One program over a mesh of devices; XLA inserts the sums over the batch."""

    axis_name = None

    def __init__(
        self, devices: Sequence[jax.Device], *, tuned: bool = False, stacked=False
    ):
        self._devices, self._tuned = devices, tuned
        mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        rows = PartitionSpec(None, AXIS) if stacked else PartitionSpec(AXIS)
        self._spread = NamedSharding(mesh, rows)
        self._is_shared = not self._spread.is_fully_addressable
        self.platform: str = devices[0].platform
        local = [d for d in devices if d.process_index == jax.process_index()]
        self._options = compiler_options.known_to(local[0]) if tuned else None

    def put_state(self, state: Any) -> Any:
        return self._put(state, self._everywhere)

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        return self._put(batch, self._spread)

    def stacked(self) -> "Jit":
        return Jit(self._devices, tuned=self._tuned, stacked=True)

    def _put(self, tree: Any, sharding: NamedSharding) -> Any:
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
            compiler_options=self._options,
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

    def replicated(self, function: Callable) -> Callable:
        everywhere = self._everywhere
        return jax.jit(function, in_shardings=everywhere, out_shardings=everywhere)

    def by_slice(self, function: Callable) -> Callable:
        compiled = self.predictions(function)
        # By a separate program: in the same one, XLA would gather the decoders'
        # features and compute the rest of the network on all devices.
        gathered = jax.jit(lambda outputs: outputs, out_shardings=self._everywhere)

        def call(state: Any, image: np.ndarray) -> Any:
            outputs = compiled(state, self._put(image, self._spread))
            if not self._is_shared:
                return outputs
            return jax.tree.map(lambda x: x.addressable_data(0), gathered(outputs))

        return call


class Pmap:
    """One program per device; the step itself sums over `AXIS`."""

    axis_name = AXIS

    def __init__(self, devices: Sequence[jax.Device], *, tuned: bool = False):
        if tuned:
            raise errors.ConfigError(
                "train.compiler_options is 'tuned', but pmap takes none: set "
                "train.backend to jit"
            )
        self._devices = list(devices)
        self._local_count = sum(d.process_index == jax.process_index() for d in devices)
        self.platform: str = devices[0].platform

    def put_state(self, state: Any) -> Any:
        count = self._local_count
        copies = jax.tree.map(lambda x: np.stack([np.asarray(x)] * count), state)
        return jax.pmap(lambda x: x, devices=self._devices)(copies)

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        return {name: self._split(array) for name, array in batch.items()}

    def stacked(self) -> Backend:
        raise errors.ConfigError(
            "train.steps_per_call is above 1, but pmap makes one step a call: set "
            "train.backend to jit"
        )

    def host(self, tree: Any) -> Any:
        first = jax.tree.map(lambda x: x.addressable_shards[0].data, tree)
        return jax.tree.map(
            lambda copy, x: copy.reshape(x.shape[1:]), jax.device_get(first), tree
        )

    def update(self, function: Callable) -> Callable:
        return jax.pmap(
            function, axis_name=AXIS, devices=self._devices, donate_argnums=0
        )

    def sums(self, function: Callable) -> Callable:
        return jax.pmap(function, axis_name=AXIS, devices=self._devices)

    def predictions(self, function: Callable) -> Callable:
        return jax.pmap(function, axis_name=AXIS, devices=self._devices)

    def replicated(self, function: Callable) -> Callable:
        return jax.pmap(function, devices=self._devices)

    def by_slice(self, function: Callable) -> Callable:
        compiled = self.predictions(function)

        def call(state: Any, image: np.ndarray) -> Any:
            outputs = compiled(state, self._split(image))
            rows = jax.tree.map(
                lambda x: np.concatenate(_shards(x)).reshape(-1, *x.shape[2:]), outputs
            )
            return distributed.gather(rows)

        return call

    def _split(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(self._local_count, -1, *array.shape[1:])


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
    norm_slices: int = 0,
    tuned: bool = False,
) -> Backend:
    """The backend called `name` over the first `devices` devices; 0 takes all.

    Several processes give the same number each. If `tuned`, updates are compiled with
    `compiler_options`.

    Raises:
        ConfigError: there are fewer devices, or they cannot share a batch equally, or
            the backend takes no options.
    """
    used = choose(devices)
    check_divides("train.batch_size", batch_size, len(used), accumulate)
    check_divides("evaluate.batch_size", evaluate_batch_size, len(used), 1)
    check_groups(norm_slices, batch_size // accumulate // len(used))
    return BACKENDS[name](used, tuned=tuned)


def choose(devices: int) -> list[jax.Device]:
    """`devices` devices, ordered by process; 0 takes all."""
    present = sorted(
        jax.devices(), key=lambda device: (device.process_index, device.id)
    )
    processes = jax.process_count()
    if devices > len(present):
        raise errors.ConfigError(
            f"train.devices is {devices}, but JAX finds {len(present)} "
            f"({present[0].platform}): give at most that many"
        )
    if devices % processes:
        raise errors.ConfigError(
            f"train.devices is {devices}, which {processes} processes cannot share in "
            f"equal parts: give {errors.nearest_multiples(devices, processes)}, or 0 "
            "for all"
        )
    share = devices // processes or len(present)
    by_process = [
        [d for d in present if d.process_index == k] for k in range(processes)
    ]
    return [device for local in by_process for device in local[:share]]


def for_prediction(batch_size: int) -> tuple[Backend, int]:
    """All devices of this process, and `batch_size` rounded up to their multiple."""
    devices = jax.local_devices()
    return Jit(devices), -(-batch_size // len(devices)) * len(devices)


def check_divides(key: str, batch_size: int, devices: int, parts: int) -> None:
    """Check that `devices` can share a batch in `parts` equal parts each.

    Raises:
        ConfigError: they cannot; it names the nearest sizes that they can.
    """
    share = devices * parts
    if batch_size % share:
        raise errors.ConfigError(
            f"{key} is {batch_size}, which {devices} devices cannot share in {parts} "
            f"equal parts each: give {errors.nearest_multiples(batch_size, share)}, or "
            "set train.devices"
        )


def check_groups(norm_slices: int, slices: int) -> None:
    """Check that groups for batch normalisation do not cut the devices' shares.

    Args:
        norm_slices: slices of a group; 0: the whole batch.
        slices: what a device has of a batch, or of each of its parts.

    Raises:
        ConfigError: neither of the two numbers divides the other.
    """
    if norm_slices and norm_slices % slices and slices % norm_slices:
        raise errors.ConfigError(
            f"train.batch_norm_slices is {norm_slices}, but each device has {slices} "
            "slices of a batch (or of each of its train.accumulate parts): give a "
            "divisor or a multiple of them, or 0 for the whole batch"
        )
