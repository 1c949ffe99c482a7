"""The measurements: cases (what is computed) and modes (by which framework, and how).

A mode is a framework with options and an environment; to add one, add a line to
`training_modes`. All modes of a case take turns.
"""

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from mtl_jax.configs import demo, openkbp

OURS, PYTORCH = "ours", "pytorch"
FRAMEWORKS = (OURS, PYTORCH)
PARTS = ("train", "inference", "pipeline", "end_to_end", "evaluation")
WITH_DATA = ("pipeline", "end_to_end", "evaluation")
# Matrix products; the fastest is the machine's peak.
PRODUCTS = "products"
ALLOCATORS = ("default", "hugepages")
# The role (core/roles) in which each network is measured, with the CT as input.
ROLES = {"single": "baseline", "hps": "hps", "mtan": "mtan", "ctan": "multi"}
FLOAT32, BFLOAT16 = {"model.dtype": "float32"}, {"model.dtype": "bfloat16"}
# XLA's other library for products on CPUs; it packs constant matrices in advance.
YNN = {
    "XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT",
}
EPOCH = 1000  # steps between changes of the task weights, in both frameworks
PRECISION = "JAX_DEFAULT_MATMUL_PRECISION"


@dataclasses.dataclass(frozen=True)
class Case:
    """A computation that both frameworks perform."""

    part: str  # one of PARTS, or PRODUCTS
    platform: str  # "cpu", "cuda" or "tpu"
    network: str
    batch_size: int
    image_size: int  # pixels along each side
    allocator: str  # one of ALLOCATORS
    size: str  # "full", or "tiny" for tests

    @property
    def title(self) -> str:
        """The case in words, as the heading of a table."""
        part = self.part.replace("_", "-")
        words = [f"{self.network}, {part}" if self.network else part]
        if self.batch_size:
            words.append(f"batch {self.batch_size}")
        if self.image_size:
            words.append(f"{self.image_size} x {self.image_size}")
        words.append(self.platform)
        if self.allocator == "hugepages":
            words.append("huge pages")
        return ", ".join(words)


@dataclasses.dataclass(frozen=True)
class Mode:
    """One way to compute a case."""

    framework: str
    name: str
    # "float32" throughout, "tf32" (products of 10 bits), "bfloat16", or "" (any).
    arithmetic: str
    # Ours: keys of the configuration. PyTorch: options of `torch_workloads`. Pipeline:
    # index of a measurement of `benchmarks.input_pipeline`, or number of processes.
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    quick: bool = True  # is measured with --quick too
    compared: bool = True  # False: only a part of the work, so no ratio
    frozen: bool = False  # ours: weights are constants, folded by the compiler

    @property
    def label(self) -> str:
        """Framework and name."""
        return f"{self.framework}/{self.name}"


def modes(case: Case) -> tuple[Mode, ...]:
    """All modes that apply to `case`."""
    if case.part == PRODUCTS:
        return product_modes(case)
    if case.part == "pipeline":
        return pipeline_modes()
    if case.part == "train":
        return training_modes(case.platform)
    if case.part == "inference":
        return training_modes(case.platform) + inference_modes(case.platform)
    return tuple(mode for mode in training_modes(case.platform) if mode.quick)


def training_modes(platform: str) -> tuple[Mode, ...]:
    """The modes in which a network is trained; inference uses them too."""
    last = {"channels_last": True}
    half = {"autocast": True} | last
    compiled = {"compile": "default"}
    if platform == "cpu":
        return (
            Mode(OURS, "float32", "float32", FLOAT32),
            Mode(OURS, "bfloat16", "bfloat16", BFLOAT16),
            Mode(PYTORCH, "eager", "float32", {}, quick=False),
            Mode(PYTORCH, "channels_last", "float32", last),
            Mode(PYTORCH, "compile", "float32", compiled, quick=False),
            Mode(PYTORCH, "compile+channels_last", "float32", compiled | last),
            Mode(PYTORCH, "bf16+channels_last", "bfloat16", half),
            Mode(
                PYTORCH, "bf16+compile+channels_last", "bfloat16", compiled | half,
                quick=False,
            ),
        )  # fmt: skip
    exact, fast = {PRECISION: "highest"}, {PRECISION: "default"}
    if platform == "tpu":  # PyTorch has no TPUs of its own
        return (
            Mode(OURS, "float32", "float32", FLOAT32, exact, quick=False),
            Mode(OURS, "float32 fast products", "bfloat16", FLOAT32, fast),
            Mode(OURS, "bfloat16", "bfloat16", BFLOAT16, fast),
        )
    tf32 = {"tf32": True}
    graphs = {"compile": "max-autotune"}  # with CUDA graphs
    return (
        Mode(OURS, "float32", "float32", FLOAT32, exact, quick=False),
        Mode(OURS, "tf32", "tf32", FLOAT32, fast),
        Mode(OURS, "bfloat16", "bfloat16", BFLOAT16, fast),
        Mode(PYTORCH, "eager", "float32", {}, quick=False),
        Mode(PYTORCH, "channels_last", "float32", last, quick=False),
        Mode(
            PYTORCH, "compile+channels_last", "float32", compiled | last, quick=False
        ),
        Mode(PYTORCH, "tf32", "tf32", tf32, quick=False),
        Mode(PYTORCH, "tf32+channels_last", "tf32", tf32 | last, quick=False),
        Mode(PYTORCH, "tf32+compile+channels_last", "tf32", tf32 | compiled | last),
        Mode(
            PYTORCH, "tf32+max-autotune+channels_last", "tf32", tf32 | graphs | last,
            quick=False,
        ),
        Mode(PYTORCH, "amp", "bfloat16", tf32 | {"autocast": True}, quick=False),
        Mode(PYTORCH, "amp+channels_last", "bfloat16", tf32 | half, quick=False),
        Mode(
            PYTORCH, "amp+compile+channels_last", "bfloat16", tf32 | compiled | half
        ),
        Mode(
            PYTORCH, "amp+max-autotune+channels_last", "bfloat16", tf32 | graphs | half
        ),
    )  # fmt: skip


def inference_modes(platform: str) -> tuple[Mode, ...]:
    """The modes that only inference has: weights as constants."""
    if platform != "cpu":
        return ()
    compiled = {"compile": "default", "channels_last": True}
    frozen = {"TORCHINDUCTOR_FREEZING": "1"}
    return (
        Mode(OURS, "frozen", "float32", FLOAT32, frozen=True),
        Mode(OURS, "frozen+ynn", "float32", FLOAT32, YNN, frozen=True, quick=False),
        Mode(PYTORCH, "frozen+compile+channels_last", "float32", compiled, frozen),
        Mode(
            PYTORCH, "bf16+frozen+compile+channels_last", "bfloat16",
            compiled | {"autocast": True}, frozen, quick=False,
        ),
    )  # fmt: skip


def pipeline_modes() -> tuple[Mode, ...]:
    """Modes of the input alone; ours are those of `benchmarks.input_pipeline`."""

    def ours(name: str, position: int, *, quick: bool, compared: bool) -> Mode:
        options = {"measurement": position}
        return Mode(OURS, name, "", options, quick=quick, compared=compared)

    return (
        ours("random access", 0, quick=True, compared=False),
        ours("one thread", 1, quick=True, compared=True),
        ours("Grain", 2, quick=True, compared=True),
        ours("Grain augmented", 3, quick=False, compared=False),
        Mode(PYTORCH, "DataLoader without workers", "", {"workers": 0}),
        Mode(PYTORCH, "DataLoader with workers", "", {"workers": -1}),
    )


def product_modes(case: Case) -> tuple[Mode, ...]:
    """Modes of matrix products; the fastest is the peak of its arithmetic."""
    names = ["float32", "bfloat16"]
    if case.platform == "cuda":
        names.append("tf32")
    candidates = []
    for name in names[:1] if case.size == "tiny" else names:
        precision = {PRECISION: "highest" if name == "float32" else "default"}
        environment = {} if case.platform == "cpu" else precision
        quick = case.platform == "cpu" or name != "float32"
        candidates += [
            Mode(OURS, name, name, {}, environment, quick=quick),
            Mode(PYTORCH, name, name, {"tf32": name == "tf32"}, quick=quick),
        ]
    return tuple(
        mode for mode in candidates if mode.framework == OURS or case.platform != "tpu"
    )


def choose(
    candidates: Sequence[Mode], *, patterns: Sequence[str], quick: bool
) -> tuple[Mode, ...]:
    """The modes whose label matches one of `patterns`; with `quick`, fewer."""
    return tuple(
        mode
        for mode in candidates
        if (mode.quick or not quick)
        and any(fnmatch.fnmatch(mode.label, pattern) for pattern in patterns)
    )


def make_config(case: Case, mode: Mode) -> ml_collections.ConfigDict:
    """The configuration of a run that computes `case`; options of our modes are set.

    The run has phantom patients, one device, and no pictures or validations between its
    steps.
    """
    role = ROLES[case.network or "single"]
    config = openkbp.get_config(role)
    config.data.source = config.data.cohort = "phantom"
    config.data.phantom_patients = (4, 1, 3)
    if case.size == "tiny":
        config.data.phantom_patients = (2, 1, 1)  # as in the other tests
        config.model = demo.get_config(role).model
        if case.network in ("single", "hps"):  # gates need two blocks a stage
            config.model.stage_sizes = (1, 1, 1, 1)
        config.model.width = 4
        config.model.decoder_widths = (8, 8, 4, 4, 4)
        config.model.bottleneck_width = 8
    if case.image_size:
        config.data.image_size = (case.image_size, case.image_size)
    config.model.pretrained = "none"
    config.train.devices = 1
    config.train.batch_size = config.evaluate.batch_size = case.batch_size or 8
    config.train.steps = 10**9
    config.train.validate_every = config.train.images_every = 10**9
    config.train.checkpoint_every = 10**9
    if mode.framework == OURS and case.part != "pipeline":
        config.update_from_flattened_dict(dict(mode.options))
    return config


# A case and the modes in which it is measured.
Planned = tuple[Case, tuple[Mode, ...]]


def without_unused_products(planned: list[Planned]) -> list[Planned]:
    """`planned` without matrix products in an arithmetic that no other part uses."""
    used = {
        (case.platform, mode.arithmetic)
        for case, modes in planned
        for mode in modes
        if case.part != PRODUCTS
    }
    remaining: list[Planned] = []
    for case, modes in planned:
        if case.part == PRODUCTS:
            modes = tuple(m for m in modes if (case.platform, m.arithmetic) in used)
        if modes:
            remaining.append((case, modes))
    return remaining
