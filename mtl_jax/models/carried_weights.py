"""Weights of an earlier network, carried over into a new one.

Input: variables of both networks, and names of their channels. Output: the new
network's variables with the earlier values where path and shape agree, and a list of
what starts anew. Channels of images and of outputs are matched by name.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from mtl_jax.models import parameters

Path = parameters.Path

PARAMS = parameters.COLLECTIONS[0]
# The first convolution; its input channels are those of the image.
FIRST_KERNEL: Path = (PARAMS, "encoder", "conv1", "kernel")
INPUT_AXIS, OUTPUT_AXIS = -2, -1

# An axis of an array, and the names of its channels.
NamedAxis = tuple[int, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Channels:
    """Names of a network's channels; the same name means the same in all networks."""

    inputs: tuple[str, ...]
    outputs: Mapping[str, tuple[str, ...]]  # by task
    # The block of each decoder whose skip is the image; "": none.
    image_skip: str

    def axis(self, path: Path, array: np.ndarray) -> NamedAxis | None:
        """The axis of the array at `path` that has the channels; None: none has."""
        named: dict[Path, NamedAxis] = {FIRST_KERNEL: (INPUT_AXIS, self.inputs)}
        for task, names in self.outputs.items():
            for leaf in ("kernel", "bias"):
                named[PARAMS, f"head_{task}", "project", leaf] = OUTPUT_AXIS, names
            joining = (PARAMS, f"decoder_{task}", self.image_skip, "conv1", "kernel")
            if path == joining:  # features of the block before, then the image
                features = array.shape[INPUT_AXIS] - len(self.inputs)
                before = (f"feature {index}" for index in range(features))
                named[path] = INPUT_AXIS, (*before, *self.inputs)
        axis, names = named.get(path, (OUTPUT_AXIS, ()))
        # A network outside the paper's family may have another array there.
        fits = array.ndim >= -axis and array.shape[axis] == len(names)
        return (axis, names) if fits else None


@dataclasses.dataclass(frozen=True)
class Carried:
    """A network's variables, and how much of them is an earlier network's."""

    variables: parameters.Variables
    parameters: int
    carried: int  # of the parameters
    kernels: int  # of convolutions, carried as a whole or in part
    anew: tuple[str, ...]  # modules that start anew, and channels of others


def carry_over(
    fresh: parameters.Variables,
    earlier: parameters.Variables,
    channels: Channels,
    earlier_channels: Channels,
) -> Carried:
    """`fresh` (NumPy arrays) with the values of `earlier` where they fit."""
    new, old = parameters.flatten(fresh), parameters.flatten(earlier)
    result, anew, new_channels, carried, kernels = dict(new), [], {}, 0, 0
    for path, array in new.items():
        values, missing, share = None, (), 1.0
        if path in old:
            named = channels.axis(path, array)
            earlier_named = earlier_channels.axis(path, old[path])
            if named and earlier_named:
                values = _by_name(array, old[path], named, earlier_named)
                missing = [name for name in named[1] if name not in earlier_named[1]]
                share -= len(missing) / len(named[1])
            elif array.shape == old[path].shape:
                values = old[path]
        if values is None:
            anew.append(path)
            continue
        result[path] = np.array(values, array.dtype, order="C")
        if missing:
            new_channels["/".join(path[1:-1])] = ", ".join(missing)
        if path[0] == PARAMS:
            carried += round(share * array.size)
            kernels += array.ndim > 1
    return Carried(
        variables=parameters.unflatten(result),
        parameters=sum(a.size for path, a in new.items() if path[0] == PARAMS),
        carried=carried,
        kernels=kernels,
        anew=(
            *_modules(anew, new),
            *(f"{module}: {names}" for module, names in new_channels.items()),
        ),
    )


def _by_name(
    array: np.ndarray, source: np.ndarray, named: NamedAxis, earlier: NamedAxis
) -> np.ndarray | None:
    """`array` with the channels of `source` that it has too; None if nothing fits."""
    axis, names = named
    pairs = [(i, earlier[1].index(n)) for i, n in enumerate(names) if n in earlier[1]]
    values, source = np.moveaxis(array.copy(), axis, 0), np.moveaxis(source, axis, 0)
    if not pairs or values.shape[1:] != source.shape[1:]:
        return None
    for to, origin in pairs:
        values[to] = source[origin]
    return np.moveaxis(values, 0, axis)


def _modules(anew: Collection[Path], every: Collection[Path]) -> Iterator[str]:
    """The largest modules of which all arrays are in `anew`, each once."""
    kept = {path[1:] for path in every} - {path[1:] for path in anew}
    named = set()
    for path in anew:
        # Of no parent are all arrays new, but of this one they are.
        sizes = range(1, len(path))
        ends = (path[1 : 1 + n] for n in sizes)
        module = next(
            m for m in ends if not any(other[: len(m)] == m for other in kept)
        )
        if module not in named:
            named.add(module)
            yield "/".join(module)
