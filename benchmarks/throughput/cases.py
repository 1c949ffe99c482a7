"""What is measured: cases (what is computed) and modes (by whom, and how).

A mode is a framework, options and an environment; another one is another line in
`training_modes`. All modes of a case take turns.
"""

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from configs import demo, openkbp

OURS, PYTORCH = "ours", "pytorch"
FRAMEWORKS = (OURS, PYTORCH)
PARTS = ("train", "inference", "pipeline", "end_to_end", "evaluation")
WITH_DATA = ("pipeline", "end_to_end", "evaluation")
# Matrix products: what shares of the machine's peak refer to.
PRODUCTS = "products"
ALLOCATORS = ("default", "hugepages")
# The role (core/roles) in which each network is measured: CT in.
ROLES = {"single": "baseline", "hps": "hps", "mtan": "mtan", "ctan": "multi"}
FLOAT32, BFLOAT16 = {"model.dtype": "float32"}, {"model.dtype": "bfloat16"}
# XLA's other library for products on CPUs, which packs constant matrices beforehand.
YNN = {
    "XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_DOT",
}
EPOCH = 1000  # steps after which the tasks' weights change, in both frameworks
PRECISION = "JAX_DEFAULT_MATMUL_PRECISION"


@dataclasses.dataclass(frozen=True)
class Case:
    """Something that both frameworks compute."""

    part: str  # one of PARTS, or PRODUCTS
    platform: str  # "cpu", "cuda" or "tpu"
    network: str
    batch_size: int
    image_size: int  # pixels along each side
    allocator: str  # one of ALLOCATORS
    size: str  # "full", or "tiny" for tests

    @property
    def title(self) -> str:
        """In words, for the head of a table."""
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
    # "float32" throughout, "tf32" (products of 10 bits), "bfloat16", or "": no matter.
    arithmetic: str
    # Ours: keys of the configuration. PyTorch's: what `theirs` reads. The pipeline's:
    # which of `benchmarks.input_pipeline`'s measurements, how many processes read.
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    quick: bool = True  # is measured with --quick, too
    compared: bool = True  # False: a part of the work only, for which no ratio is given
    frozen: bool = False  # ours: weights are constants, what hangs on them alone folded

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
    """How a network is trained; each of these predicts, too."""
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
    """Ways that only a network which is not trained has: weights as constants."""
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
    """The input alone; ours are named as in `benchmarks.input_pipeline`."""

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
    """Matrix products, of which the fastest is the peak of its arithmetic."""
    names = ["float32", "bfloat16"]
    if case.platform == "cuda":
        names.append("tf32")
    found = []
    for name in names[:1] if case.size == "tiny" else names:
        precision = {PRECISION: "highest" if name == "float32" else "default"}
        set_so = {} if case.platform == "cpu" else precision
        quick = case.platform == "cpu" or name != "float32"
        found += [
            Mode(OURS, name, name, {}, set_so, quick=quick),
            Mode(PYTORCH, name, name, {"tf32": name == "tf32"}, quick=quick),
        ]
    return tuple(
        mode for mode in found if mode.framework == OURS or case.platform != "tpu"
    )


def choose(
    found: Sequence[Mode], *, patterns: Sequence[str], quick: bool
) -> tuple[Mode, ...]:
    """Those of `found` whose label fits one of `patterns`; as --quick has them."""
    return tuple(
        mode
        for mode in found
        if (mode.quick or not quick)
        and any(fnmatch.fnmatch(mode.label, pattern) for pattern in patterns)
    )


def config(case: Case, mode: Mode) -> ml_collections.ConfigDict:
    """The configuration of a run that computes `case` in our `mode`.

    Phantom patients, one device, no pictures and validations between the steps.
    """
    role = ROLES[case.network or "single"]
    made = openkbp.get_config(role)
    made.data.source = made.data.cohort = "phantom"
    made.data.phantom_patients = (4, 1, 3)
    if case.size == "tiny":
        made.data.phantom_patients = (1, 1, 1)
        made.model = demo.get_config(role).model
        if case.network in ("single", "hps"):  # gates need two blocks a stage
            made.model.stage_sizes = (1, 1, 1, 1)
        made.model.width = 4
        made.model.decoder_widths = (8, 8, 4, 4, 4)
        made.model.bottleneck_width = 8
    if case.image_size:
        made.data.image_size = (case.image_size, case.image_size)
    made.model.pretrained = "none"
    made.train.devices = 1
    made.train.batch_size = made.evaluate.batch_size = case.batch_size or 8
    made.train.steps = 10**9
    made.train.validate_every = made.train.images_every = 10**9
    made.train.checkpoint_every = 10**9
    if mode.framework == OURS and case.part != "pipeline":
        made.update_from_flattened_dict(dict(mode.options))
    return made


# What is measured of a case.
Planned = tuple[Case, tuple[Mode, ...]]


def without_spare_products(jobs: list[Planned]) -> list[Planned]:
    """`jobs` without matrix products in an arithmetic that nothing else uses."""
    used = {
        (case.platform, mode.arithmetic)
        for case, modes in jobs
        for mode in modes
        if case.part != PRODUCTS
    }
    kept: list[Planned] = []
    for case, modes in jobs:
        if case.part == PRODUCTS:
            modes = tuple(m for m in modes if (case.platform, m.arithmetic) in used)
        if modes:
            kept.append((case, modes))
    return kept
