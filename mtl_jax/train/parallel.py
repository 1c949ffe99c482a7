"""Where a step runs: `jit` over a mesh, or `pmap`; the same methods, the same result.

Both spread the batch over the devices and keep the state on each of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mtl_jax.core import errors

AXIS = "batch"


class Backend(Protocol):
    """Devices and how a function of (state, batch) runs on them."""

    @property
    def axis_name(self) -> str | None:
        """The axis that a step must add over itself; None: XLA does."""
        ...

    def put_state(self, state: Any) -> Any:
        """A host tree, on every device."""
        ...

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        """A host batch [B, ...], spread over the devices."""
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

    def by_slice(self, function: Callable) -> Callable:
        """`function(state, image) -> arrays [B, ...]`, compiled; returns NumPy."""
        ...


class Jit:
    """One program over a mesh of devices; XLA inserts the sums over the batch."""

    axis_name = None

    def __init__(self, devices: Sequence[jax.Device]):
        mesh = Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._spread = NamedSharding(mesh, PartitionSpec(AXIS))

    def put_state(self, state: Any) -> Any:
        return jax.device_put(state, self._everywhere)

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        return jax.device_put(batch, self._spread)

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

    def by_slice(self, function: Callable) -> Callable:
        compiled = jax.jit(
            function,
            in_shardings=(self._everywhere, self._spread),
            out_shardings=self._spread,
        )
        return lambda state, image: jax.device_get(
            compiled(state, jax.device_put(image, self._spread))
        )


class Pmap:
    """One program a device; the step adds over `AXIS` itself."""

    axis_name = AXIS

    def __init__(self, devices: Sequence[jax.Device]):
        self._devices = list(devices)

    def put_state(self, state: Any) -> Any:
        count = len(self._devices)
        copies = jax.tree.map(lambda x: np.stack([np.asarray(x)] * count), state)
        return jax.pmap(lambda x: x, devices=self._devices)(copies)

    def put_batch(self, batch: Mapping[str, Any]) -> Any:
        return {name: self._split(array) for name, array in batch.items()}

    def host(self, tree: Any) -> Any:
        return jax.device_get(jax.tree.map(lambda x: x[0], tree))

    def update(self, function: Callable) -> Callable:
        return jax.pmap(
            function, axis_name=AXIS, devices=self._devices, donate_argnums=0
        )

    def sums(self, function: Callable) -> Callable:
        return jax.pmap(function, axis_name=AXIS, devices=self._devices)

    def by_slice(self, function: Callable) -> Callable:
        compiled = jax.pmap(function, axis_name=AXIS, devices=self._devices)

        def call(state: Any, image: np.ndarray) -> Any:
            outputs = jax.device_get(compiled(state, self._split(image)))
            return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), outputs)

        return call

    def _split(self, array: np.ndarray) -> np.ndarray:
        return array.reshape(len(self._devices), -1, *array.shape[1:])


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

    Raises:
        ConfigError: fewer devices than asked for, or a batch they cannot share equally.
    """
    found = jax.devices()
    if devices > len(found):
        raise errors.ConfigError(
            f"train.devices is {devices}, but JAX finds {len(found)} "
            f"({found[0].platform}): give at most that"
        )
    used = found[: devices or len(found)]
    _check_divides("train.batch_size", batch_size, len(used), accumulate)
    _check_divides("evaluate.batch_size", evaluate_batch_size, len(used), 1)
    return BACKENDS[name](used)


def _check_divides(key: str, batch_size: int, devices: int, parts: int) -> None:
    share = devices * parts
    if batch_size % share:
        below = batch_size // share * share
        nearest = [str(size) for size in (below, below + share) if size]
        raise errors.ConfigError(
            f"{key} is {batch_size}, which {devices} devices cannot share in {parts} "
            f"equal parts each: give {' or '.join(nearest)}, or set train.devices"
        )
