"""What the compilers of accelerators are asked to do differently in training.

Input: a device. Output: those options of the table that its compiler knows, for
`jax.jit(compiler_options=...)`. They are given to the compiler with the program, not in
$XLA_FLAGS or $LIBTPU_INIT_ARGS: there, a name that this version of XLA does not know
would end the process. Nothing was measured with them. The table is also in
docs/reference/compiler-options.md.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

logger = logging.getLogger(__name__)

Value = bool | int | str


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of XLA, the value asked for, why, and who recommends it."""

    name: str
    value: Value
    reason: str
    source: str


XLA = "[XLA's flags guidance](https://openxla.org/xla/flags_guidance)"
NVIDIA = (
    "[NVIDIA JAX-Toolbox, GPU performance]"
    "(https://docs.nvidia.com/jax-toolbox/performance-profiling/gpu-performance)"
)
MAXTEXT = (
    "[Google's MaxText, xla_flags_library.py]"
    "(https://github.com/AI-Hypercomputer/maxtext/blob/main/benchmarks/xla_flags_library.py)"
)

GPU = (
    Option(
        "xla_gpu_enable_latency_hiding_scheduler",
        True,
        "sums of gradients run beside the backward pass, not after it",
        f"{NVIDIA}; set in NVIDIA's JAX image",
    ),
    Option(
        "xla_gpu_all_reduce_combine_threshold_bytes",
        64 * 2**20,
        "the gradients of 62 million parameters (248 MB) go in a few large sums, of "
        "which the first ones overlap with the backward pass",
        f"{XLA}, {NVIDIA}: larger than the default; the number is ours",
    ),
    Option(
        "xla_gpu_graph_min_graph_size",
        1,
        "command buffers (CUDA graphs), on by default for runs of 5 kernels or more, "
        "take the shorter runs too: with 8 slices a step is bound by launching some "
        "2,000 kernels",
        f"{NVIDIA}, on command buffers; the number is that of DeepMind's MuJoCo MJX",
    ),
)
TPU = (
    Option(
        "xla_tpu_enable_async_collective_fusion_fuse_all_reduce",
        True,
        "a sum of gradients runs beside computation (v5e)",
        f"{XLA}, with `xla_tpu_enable_async_collective_fusion`, which is on by default",
    ),
    Option(
        "xla_enable_async_all_reduce",
        True,
        "the same: the sum may start before its result is needed",
        MAXTEXT,
    ),
    Option(
        "xla_tpu_enable_async_collective_fusion_multiple_steps",
        True,
        "the same: a sum may overlap with several operations",
        MAXTEXT,
    ),
    Option(
        "xla_tpu_overlap_compute_collective_tc",
        True,
        "the same: a core computes while it communicates",
        MAXTEXT,
    ),
    Option(
        "xla_tpu_enable_data_parallel_all_reduce_opt",
        True,
        "sums of gradients between slices of a pod (over the data centre's network) "
        "overlap with computation",
        f"{XLA}, {MAXTEXT}",
    ),
)
BY_PLATFORM: Mapping[str, Sequence[Option]] = {"gpu": GPU, "cuda": GPU, "tpu": TPU}


def known_to(device: jax.Device) -> dict[str, Value]:
    """The options for the platform of `device` that its compiler knows; {} on a CPU."""
    known = {}
    for option in BY_PLATFORM.get(device.platform, ()):
        if is_known(option.name, option.value, device):
            known[option.name] = option.value
        else:
            logger.warning("this version of XLA has no option %s", option.name)
    return known


def is_known(name: str, value: Value, device: jax.Device) -> bool:
    """Whether a program can be compiled for `device` with the option."""
    sharding = SingleDeviceSharding(device)
    program = jax.jit(
        lambda x: x + 1,
        in_shardings=sharding,
        out_shardings=sharding,
        compiler_options={name: value},
    )
    try:
        program.lower(jax.ShapeDtypeStruct((), np.float32)).compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return False
    return True
