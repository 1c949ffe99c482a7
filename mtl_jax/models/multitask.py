"""The family of networks: `build_network` makes one, `initialise` its variables."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from mtl_jax.core import errors
from mtl_jax.models import attention, decoder, layers, resnet
from mtl_jax.models.fast import rewrites

Variables = dict[str, Any]  # {"params": ..., "batch_stats": ...}, trees of arrays


class Kind(NamedTuple):
    """What sets a network apart from the others of the family."""

    tasks: int
    attention: bool  # each task has its own view of the encoder's features
    cross_task: bool  # ... and the tasks exchange masks and features, as flags say


GAMMA = "gamma_"  # begins the name of a bottleneck's residual scale

NETWORKS = {
    "single": Kind(1, attention=False, cross_task=False),
    "hps": Kind(2, attention=False, cross_task=False),
    "mtan": Kind(2, attention=True, cross_task=False),
    "ctan": Kind(2, attention=True, cross_task=True),
}


class MultiTask(nn.Module):
    """Image [B, H, W, C] to {task: [B, H, W, channels] float32}; H, W multiples of 32.

    One encoder, one decoder and head per task. With `attention`, each task has its own
    view of the encoder's features (models/attention).
    """

    channels: tuple[tuple[str, int], ...]  # task, channels of its output
    stage_sizes: tuple[int, ...]
    width: int
    decoder_widths: tuple[int, ...]
    attention: bool
    cross_gating: bool
    attended_skips: bool
    bottleneck: bool
    bottleneck_width: int
    gamma_init: float
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> dict[str, jax.Array]:
        check_image(image.shape, len(self.decoder_widths))
        encoder = resnet.ResNet(
            self.stage_sizes, self.width, self.numerics, name="encoder"
        )
        features = encoder(image, train=train)
        seen = self.attend(features, train=train)
        outputs = {}
        for task, channels in self.channels:
            *skips, deepest = seen[task]
            skips = [*reversed(skips), features.stem]
            decoded = decoder.Decoder(
                self.decoder_widths, self.numerics, name=f"decoder_{task}"
            )(deepest, skips, train=train)
            head = decoder.Head(channels, self.numerics, name=f"head_{task}")
            outputs[task] = head(decoded)
        return outputs

    def attend(
        self, features: resnet.Features, *, train: bool
    ) -> dict[str, list[jax.Array]]:
        """What each task's decoder reads of each stage, [B, H, W, C], shallow first."""
        tasks = tuple(task for task, _ in self.channels)
        shared = [stage.after for stage in features.stages]
        if not self.attention:
            return dict.fromkeys(tasks, shared)
        attended = attention.AttentionEncoder(
            tasks, self.cross_gating, self.numerics, name="attention"
        )(features.stages, train=train)
        deepest = {task: attended[task][-1] for task in tasks}
        if self.bottleneck:
            deepest = attention.CrossTaskBottleneck(
                tasks,
                self.bottleneck_width,
                self.gamma_init,
                self.numerics,
                name="bottleneck",
            )(deepest)
        skips = attended if self.attended_skips else dict.fromkeys(tasks, shared)
        return {task: [*skips[task][:-1], deepest[task]] for task in tasks}


def build_network(
    *,
    network: str,
    tasks: tuple[str, ...],
    structures: int,
    stage_sizes: tuple[int, ...],
    width: int,
    decoder_widths: tuple[int, ...],
    cross_gating: bool,
    attended_skips: bool,
    bottleneck: bool,
    bottleneck_width: int,
    gamma_init: float,
    contour_head: str,
    dtype: jnp.dtype,
    remat: bool,
    axis_name: str | None,
    fast_variance: bool,
    rewritten: rewrites.Rewrites = rewrites.PLAIN,
) -> MultiTask:
    """The network called `network` for `tasks` ("contours", "dose").

    `single` and `hps` have no attention, `mtan` is `ctan` without cross gating and
    bottleneck; attention's flags mean nothing where it is not. Contours have one logit
    per structure, and with the "softmax" head one for the background before them.
    `rewritten` operations are computed in another form, equal to rounding.

    Raises:
        ConfigError: a network, head or size that cannot be built.
    """
    check_network(network, tasks, contour_head, stage_sizes, decoder_widths)
    contour_channels = structures + (contour_head == "softmax")
    channels = {"contours": contour_channels, "dose": 1}
    kind = NETWORKS[network]
    return MultiTask(
        channels=tuple((task, channels[task]) for task in tasks),
        stage_sizes=tuple(stage_sizes),
        width=width,
        decoder_widths=tuple(decoder_widths),
        attention=kind.attention,
        cross_gating=cross_gating and kind.cross_task,
        attended_skips=attended_skips,
        bottleneck=bottleneck and kind.cross_task,
        bottleneck_width=bottleneck_width,
        gamma_init=gamma_init,
        numerics=layers.Numerics(
            dtype=jnp.dtype(dtype),
            axis_name=axis_name,
            fast_variance=fast_variance,
            remat=remat,
            rewrites=rewritten,
        ),
    )


def initialise(network: MultiTask, seed: int, channels: int) -> Variables:
    """Random parameters and fresh statistics for images of `channels`, float32.

    NumPy draws them: to compile a draw of every kernel takes longer than to compile a
    training step. A kernel depends on `seed`, its name and its shape alone, so networks
    that share a part start from the same one.
    """
    shapes, kernel_inits = _trace(network, channels)
    constants = {"scale": 1.0, "var": 1.0, "bias": 0.0, "mean": 0.0}

    def value(path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        _, *module, leaf = path
        if leaf == "kernel":
            rng = np.random.default_rng([seed, zlib.crc32("/".join(module).encode())])
            return kernel_inits[tuple(module)].draw(rng, shape)
        gamma = leaf.startswith(GAMMA)
        constant = network.gamma_init if gamma else constants[leaf]
        return np.full(shape, constant, np.float32)

    return traverse_util.unflatten_dict(
        {path: value(path, leaf.shape) for path, leaf in shapes.items()}
    )


def shapes(network: MultiTask, channels: int) -> Variables:
    """The variables as shapes and types; nothing is computed."""
    return traverse_util.unflatten_dict(_trace(network, channels)[0])


def count_parameters(network: MultiTask, channels: int) -> int:
    """How many numbers are trained, for images of `channels`."""
    return sum(
        leaf.size for leaf in jax.tree.leaves(shapes(network, channels)["params"])
    )


def _trace(
    network: MultiTask, channels: int
) -> tuple[dict[tuple[str, ...], Any], dict[tuple[str, ...], layers.KernelInit]]:
    """Shapes of the variables by path, initialisers of the kernels by module.

    The image of this call is as small as the network takes: no parameter's shape
    depends on the image's height or width, as everything is a convolution or attends
    over whatever positions there are.
    """
    side = 2 ** len(network.decoder_widths)
    image = jnp.zeros((1, side, side, channels), jnp.float32)
    # The statistics' axis exists only inside pmap.
    alone = dataclasses.replace(network.numerics, axis_name=None, remat=False)
    kernel_inits: dict[tuple[str, ...], layers.KernelInit] = {}

    def note(
        call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext
    ) -> Any:
        if isinstance(context.module, layers.Conv | layers.JoiningConv):
            kernel_inits[context.module.path] = context.module.kernel_init
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        variables = jax.eval_shape(
            lambda key: network.clone(numerics=alone).init(key, image, train=False),
            jax.random.key(0),
        )
    return dict(traverse_util.flatten_dict(variables)), kernel_inits


def gammas(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """The bottleneck's residual scale of each task; {} where there is no bottleneck."""
    return {
        name.removeprefix(GAMMA): value
        for name, value in params.get("bottleneck", {}).items()
        if name.startswith(GAMMA)
    }


def check_network(
    network: str,
    tasks: tuple[str, ...],
    contour_head: str,
    stage_sizes: tuple[int, ...],
    decoder_widths: tuple[int, ...],
) -> None:
    """A ConfigError names what does not fit together."""
    if network not in NETWORKS:
        raise errors.ConfigError(
            f"unknown network {network!r}{errors.nearest(network, NETWORKS)}; "
            f"networks: {', '.join(NETWORKS)}"
        )
    if contour_head not in ("sigmoid", "softmax"):
        raise errors.ConfigError(
            f"unknown model.contour_head {contour_head!r}; heads: sigmoid, softmax"
        )
    expected = NETWORKS[network].tasks
    if len(tasks) != expected or not set(tasks) <= {"contours", "dose"}:
        raise errors.ConfigError(
            f"network {network!r} takes {expected} of the tasks contours and dose, "
            f"got {', '.join(tasks) or 'none'}"
        )
    if len(decoder_widths) != len(stage_sizes) + 1:
        raise errors.ConfigError(
            f"model.decoder_widths has {len(decoder_widths)} entries, "
            f"model.stage_sizes {len(stage_sizes)}; the decoder needs one block more "
            "than the encoder has stages, for the stem"
        )
    fewest = 2 if NETWORKS[network].attention else 1
    if min(stage_sizes) < fewest:
        raise errors.ConfigError(
            f"model.stage_sizes is {tuple(stage_sizes)}, but network {network!r} needs "
            f"at least {fewest} in every stage"
            + (": its gates look between the last two" if fewest == 2 else "")
        )


def check_image(shape: tuple[int, ...], halvings: int) -> None:
    """A ConfigError for an image's shape that cannot be halved `halvings` times."""
    multiple = 2**halvings
    if len(shape) != 4 or shape[1] % multiple or shape[2] % multiple:
        raise errors.ConfigError(
            f"the network's image has shape {shape}, expected [B, H, W, C] with H and "
            f"W multiples of {multiple}; set data.image_size accordingly"
        )
