"""The variables of a network: initial values, shapes, and how many are trained.

Input: any Flax module that is called as `network(image, train=...)`, and the shape
(H, W, C) of its images. Output: {"params": ..., "batch_stats": ...}, trees of arrays;
a collection that the network does not have is an empty tree.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from mtl_jax.core import errors
from mtl_jax.models import layers

Variables = dict[str, Any]
COLLECTIONS = ("params", "batch_stats")

ImageShape = tuple[int, int, int]  # H, W, C
Path = tuple[str, ...]


def initialise(network: nn.Module, seed: int, image_shape: ImageShape) -> Variables:
    """Random parameters and fresh statistics, NumPy arrays of the module's types.

    NumPy draws the kernels of our own convolutions (`layers`): compiling a draw of
    each takes longer than compiling a training step. Such a kernel depends only on
    `seed`, its name and its shape, so networks that share a part start from the same
    one. Flax initialises everything else, with a key made of `seed` and the path.

    Raises:
        ConfigError: a collection of variables that a training state does not hold.
    """
    kernels: dict[Path, tuple[layers.KernelInit, tuple[int, ...]]] = {}

    def other_variables(key: jax.Array) -> dict[Path, jax.Array]:
        """All variables but the kernels, which are noted in `kernels`."""
        convolutions: dict[Path, layers.KernelInit] = {}
        with nn.intercept_methods(_note_convolutions(convolutions)):
            flat = flatten(_init(network, key, image_shape))
        for module, kernel_init in convolutions.items():
            path = ("params", *module, "kernel")
            kernels[path] = kernel_init, flat.pop(path).shape
        return flat

    # Compiled, so that nothing but these variables is computed.
    others = jax.device_get(jax.jit(other_variables)(jax.random.key(seed % 2**32)))
    flat = {path: np.array(value) for path, value in others.items()}
    for path, (kernel_init, shape) in kernels.items():
        module = "/".join(path[1:-1])
        rng = np.random.default_rng([seed, zlib.crc32(module.encode())])
        flat[path] = kernel_init.draw(rng, shape)
    return unflatten(flat)


def shapes(network: nn.Module, image_shape: ImageShape) -> Variables:
    """The variables as `jax.ShapeDtypeStruct`; nothing is computed.

    Raises:
        ConfigError: as `initialise`.
    """
    return unflatten(
        jax.eval_shape(
            lambda key: flatten(_init(network, key, image_shape)), jax.random.key(0)
        )
    )


def count(network: nn.Module, image_shape: ImageShape) -> int:
    """How many numbers are trained."""
    params = shapes(network, image_shape)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _init(network: nn.Module, key: jax.Array, image_shape: ImageShape) -> Any:
    image = jnp.zeros((1, *image_shape), jnp.float32)
    return network.init(key, image, train=False)


def _note_convolutions(convolutions: dict[Path, layers.KernelInit]) -> Callable:
    """A Flax interceptor that notes the kernel initialiser of each convolution."""

    def note(
        call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ) -> Any:
        if isinstance(context.module, layers.Conv | layers.JoiningConv):
            convolutions[context.module.path] = context.module.kernel_init
        return call(*args, **kwargs)

    return note


def flatten(variables: Mapping[str, Any]) -> dict[Path, Any]:
    """The arrays by path.

    Raises:
        ConfigError: a collection that is not one of `COLLECTIONS`.
    """
    if other := sorted(set(variables) - set(COLLECTIONS)):
        raise errors.ConfigError(
            f"the network has variables in {', '.join(other)}; a training state holds "
            f"{' and '.join(COLLECTIONS)} only: move its variables there"
        )
    return dict(traverse_util.flatten_dict(variables))


def unflatten(flat: Mapping[Path, Any]) -> Variables:
    """The tree of `flat`, its names sorted as JAX sorts them."""
    empty: Variables = {collection: {} for collection in COLLECTIONS}
    return empty | traverse_util.unflatten_dict(dict(sorted(flat.items())))
