"""Names and layouts of torch's tensors and of our variables, in both directions.

Input and output: NumPy arrays, in a torch state dict or in a tree of ours. An encoder
is {"params": tree, "batch_stats": tree} of `resnet.ResNet`. Its names follow
torchvision's; kernels are [H, W, in, out] here and [out, in, H, W] there. Whole
networks have the names of `benchmarks/pytorch`, by the same rule.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from mtl_jax.core import errors

Path = tuple[str, ...]

FIRST_CONV = "conv1.weight"
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
SHORTCUT = {"downsample_conv": "downsample.0", "downsample_bn": "downsample.1"}
# In a classifier's file, but no part of an encoder.
IGNORED = ("fc.weight", "fc.bias")
IGNORED_SUFFIX = ".num_batches_tracked"


def torch_name(path: Path) -> str:
    """Torch's name: of ("params", "layer1_0", "bn1", "scale"), layer1.0.bn1.weight."""
    _, *modules, leaf = path
    names = [SHORTCUT.get(name, name.replace("_", ".")) for name in modules]
    return ".".join([*names, LEAVES.get(leaf, leaf.replace("_", "."))])


def to_torch(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of an encoder, or of a network, by name; kernels as [out, in, H, W]."""
    return {
        torch_name(path): _transposed(np.asarray(array), (3, 2, 0, 1))
        for path, array in _flat(variables).items()
    }


def to_flax(state: Mapping[str, np.ndarray], like: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict in the tree of `like`, an encoder or a network, and in its types.

    The classifier and counters of batches are left out; an encoder's first convolution
    is adapted to the channels of `like` (`adapt_first_conv`).

    Raises:
        WeightsError: names the keys that are missing, extra, misshapen or not finite.
    """
    leaves = {torch_name(path): (path, leaf) for path, leaf in _flat(like).items()}
    shapes = {name: tuple(leaf.shape) for name, (_, leaf) in leaves.items()}
    arrays = {
        name: _transposed(
            np.asarray(array, leaves[name][1].dtype if name in leaves else None),
            (2, 3, 1, 0),
        )
        for name, array in state.items()
        if name not in IGNORED and not name.endswith(IGNORED_SUFFIX)
    }
    if FIRST_CONV in shapes and FIRST_CONV in arrays and arrays[FIRST_CONV].ndim == 4:
        channels = shapes[FIRST_CONV][2]
        arrays[FIRST_CONV] = adapt_first_conv(arrays[FIRST_CONV], channels)
    _check(arrays, shapes)
    return traverse_util.unflatten_dict(
        {path: arrays[name] for name, (path, _) in leaves.items()}
    )


def adapt_first_conv(kernel: np.ndarray, channels: int) -> np.ndarray:
    """An RGB kernel [H, W, 3, out] made one for other channels, [H, W, channels, out].

    As segmentation_models.pytorch does: for one channel the sum over RGB; for two, or
    more than three, channel i takes that of RGB channel i mod 3, times 3 / channels.
    """
    rgb = kernel.shape[2]
    if rgb != 3 or channels == 3:
        return kernel
    if channels == 1:
        return kernel.sum(axis=2, keepdims=True)
    return kernel[:, :, np.arange(channels) % 3] * np.float32(3 / channels)


def size(encoder: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    """Blocks of each stage of an encoder, and the width of its first stage."""
    params = encoder["params"]
    blocks = [name for name in params if name.startswith("layer")]
    stages = [int(name.removeprefix("layer").split("_")[0]) for name in blocks]
    counts = tuple(stages.count(stage) for stage in sorted(set(stages)))
    return counts, params["conv1"]["kernel"].shape[-1]


def _flat(tree: Mapping[str, Any]) -> dict[Path, Any]:
    return dict(traverse_util.flatten_dict(tree))


def _transposed(array: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return array.transpose(axes) if array.ndim == 4 else array


def _check(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """A WeightsError unless `arrays` has just the names and shapes of `shapes`."""
    missing = [name for name in shapes if name not in arrays]
    extra = [
        f"{name}{errors.nearest(name, missing)}"
        for name in arrays
        if name not in shapes
    ]
    both = [name for name in shapes if name in arrays]
    misshapen = [
        f"{name} is {arrays[name].shape}, expected {shapes[name]}"
        for name in both
        if arrays[name].shape != shapes[name]
    ]
    broken = [name for name in both if not np.all(np.isfinite(arrays[name]))]
    problems = [
        f"{len(names)} {what} ({_some(names)})"
        for what, names in (
            ("missing", missing),
            ("extra", extra),
            ("misshapen", misshapen),
            ("not finite", broken),
        )
        if names
    ]
    if problems:
        raise errors.WeightsError(
            f"not the weights of this network, by torch's names: "
            f"{'; '.join(problems)}. Shapes are [H, W, in, out]"
        )


def _some(names: Iterable[str], most: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
