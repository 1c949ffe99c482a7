"""Attention between a shared encoder and two tasks: MTAN's gates, CTAN's additions.

Input: features [B, H, W, C] of each stage of the encoder. Output: each task's own view
of them, of the same shapes. The gates and the blocks between them are those of MTAN
(Liu et al. 2019, its ResNet version). The exchange of masks and the bottleneck are our
reconstruction of CTAN (Kim et al. 2023), whose code is not public:
docs/explanation/network.md.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn import initializers

from mtl_jax.models import layers, resnet
from mtl_jax.models.fast import primitives

GATE_REDUCTION = 4  # a gate's middle is this much narrower than its output


def other(task: str, tasks: Sequence[str]) -> str:
    """The other of two tasks."""
    first, second = tasks
    return second if task == first else first


class Gate(nn.Module):
    """Features [B, H, W, C] to a mask [B, H, W, features] in (0, 1)."""

    features: int
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        widths = (self.features // GATE_REDUCTION, self.features)
        for index, width in enumerate(widths, start=1):
            x = layers.Conv(
                width,
                1,
                self.numerics,
                layers.TORCH_INIT,
                use_bias=True,
                name=f"conv{index}",
            )(x)
            x = layers.batch_norm(self.numerics, train=train, name=f"bn{index}")(x)
            x = nn.relu(x) if index == 1 else nn.sigmoid(x)
        return x


class AttentionEncoder(nn.Module):
    """Each task's own view of the encoder's stages.

    A gate per task and stage reads the input of the stage's last bottleneck and, from
    the second stage on, the task's features of the previous stage. Its mask multiplies
    the stage's output. A bottleneck shared by the tasks passes the product on.
    """

    tasks: tuple[str, ...]
    cross_gating: bool  # a task's features are multiplied by the other task's mask
    numerics: layers.Numerics

    @nn.compact
    def __call__(
        self, stages: Sequence[resnet.Stage], *, train: bool
    ) -> dict[str, list[jax.Array]]:
        attended: dict[str, list[jax.Array]] = {task: [] for task in self.tasks}
        inputs = {task: stages[0].before for task in self.tasks}
        for index, stage in enumerate(stages, start=1):
            features = stage.after.shape[-1]
            masks = {}
            for task in self.tasks:
                gate = Gate(features, self.numerics, name=f"gate{index}_{task}")
                masks[task] = layers.call(
                    gate, inputs[task], train=train, numerics=self.numerics
                )
            for task in self.tasks:
                source = other(task, self.tasks) if self.cross_gating else task
                attended[task].append(masks[source] * stage.after)
            if index == len(stages):
                break
            # The next stage is twice as wide, and half the size in each direction.
            block = resnet.Bottleneck(
                2 * features // resnet.EXPANSION,
                stride=1,
                project=True,
                numerics=self.numerics,
                kernel_init=layers.TORCH_INIT,
                name=f"block{index}",
            )
            for task in self.tasks:
                carried = layers.call(
                    block, attended[task][-1], train=train, numerics=self.numerics
                )
                carried = layers.max_pool(carried, 2, self.numerics.rewrites)
                inputs[task] = jnp.concatenate([stages[index].before, carried], axis=-1)
        return attended


class CrossTaskBottleneck(nn.Module):
    """Each task's deepest features attend to the other task's: x + gamma * attention.

    Query from the task itself, key and value from the other; one head over all
    positions. `gamma_<task>` is a scalar parameter: 0 leaves the features unchanged.
    """

    tasks: tuple[str, ...]
    width: int
    gamma_init: float
    numerics: layers.Numerics

    @nn.compact
    def __call__(self, features: dict[str, jax.Array]) -> dict[str, jax.Array]:
        def project(x: jax.Array, channels: int, name: str) -> jax.Array:
            return layers.Conv(
                channels, 1, self.numerics, layers.TORCH_INIT, use_bias=True, name=name
            )(x)

        def tokens(x: jax.Array) -> jax.Array:
            return x.reshape(x.shape[0], -1, x.shape[-1])

        mixed = {}
        for task in self.tasks:
            own, source = features[task], features[other(task, self.tasks)]
            query = tokens(project(own, self.width, f"query_{task}"))
            key = tokens(project(source, self.width, f"key_{task}"))
            value = tokens(project(source, self.width, f"value_{task}"))
            scores = primitives.einsum("bqc,bkc->bqk", query, key)
            weights = nn.softmax(scores / self.width**0.5, axis=-1)
            attended = jnp.einsum("bqk,bkc->bqc", weights.astype(value.dtype), value)
            attended = attended.reshape(*own.shape[:-1], self.width)
            attended = project(attended, own.shape[-1], f"output_{task}")
            gamma = self.param(
                f"gamma_{task}",
                initializers.constant(self.gamma_init),
                (),
                jnp.float32,
            )
            mixed[task] = own + gamma.astype(own.dtype) * attended
        return mixed
