"""The operations of a compiled program, read from its text (HLO).

Input: what `compiled.as_text()` returns, for a TPU, a GPU or a CPU. Output: a `Pass`
for each operation of the program that does work, most of them fusions: its scope in the
network, bytes, arithmetic, and the cycles that the compiler estimates, where it does.
An operation in the body of a loop counts once.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_NAME = re.compile(r"%([\w.\-]+)")
_ARRAY = re.compile(r"([a-z]+\d*)(?:e\dm\d\w*)?\[([\d,]*)\](?:\{([^}]*)\})?")
_TILE = re.compile(r"T\(([\d,]+)\)")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SCOPE = re.compile(r'op_name="([^"]*)"')
_CALLED = re.compile(r"(?:calls|to_apply|body)=%?([\w.\-]+)")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_BITS = {"pred": 8, "bf16": 16, "token": 0, "opaque": 0}
# Operations without work of their own: their operands' memory is passed on.
_FREE = frozenset(
    (
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "after-all",
        "partition-id",
        "replica-id",
        "opt-barrier",
    )
)


@dataclasses.dataclass(frozen=True)
class Array:
    """An array of a program: its type, shape, and where and how it is stored."""

    dtype: str
    shape: tuple[int, ...]
    layout: str  # of HLO: axes from the fastest to the slowest, tiles, memory space

    @property
    def on_chip(self) -> bool:
        """Whether it stays in the chip's own memory (a TPU's memory space 1)."""
        return "S(1)" in self.layout

    @property
    def bytes(self) -> float:
        """Bytes of the values alone."""
        return math.prod(self.shape) * _bits(self.dtype) / 8

    @property
    def padded_bytes(self) -> float:
        """Bytes with the padding to whole tiles, as on a TPU."""
        tiles = _TILE.search(self.layout)
        if not tiles or not self.shape:
            return self.bytes
        order = [int(axis) for axis in self.layout.partition(":")[0].split(",")]
        shape = list(self.shape)
        sizes = [int(size) for size in tiles.group(1).split(",")]
        for axis, size in zip(order, reversed(sizes), strict=False):
            shape[axis] = -(-shape[axis] // size) * size
        return math.prod(shape) * _bits(self.dtype) / 8


@dataclasses.dataclass(frozen=True)
class Pass:
    """An operation of a program that does work."""

    name: str
    kind: str  # its opcode, or the target of a custom call
    scope: str  # where in the network it comes from, as JAX names it
    results: tuple[Array, ...]
    operands: tuple[Array, ...]
    operations: float  # of products, two for each multiply-add
    float32: bool  # whether a product has a float32 operand
    cycles: int | None  # as the compiler estimates them

    @property
    def memory(self) -> tuple[Array, ...]:
        """The arrays that it reads from or writes to the device's memory.

        A copy from there to a chip's own memory, or back, moves the array once. The
        results of a copy begin with its target, those of a slice with its source.
        """
        if self.kind in ("copy-start", "slice-start"):
            return self.results[self.kind == "slice-start" :][:1]
        return tuple(a for a in (*self.operands, *self.results) if not a.on_chip)

    @property
    def bytes(self) -> float:
        """Bytes read from and written to the device's memory."""
        return sum(array.bytes for array in self.memory)

    @property
    def padded_bytes(self) -> float:
        """As `bytes`, with what fills up tiles."""
        return sum(array.padded_bytes for array in self.memory)

    @property
    def product(self) -> bool:
        """Whether it has a convolution or a matrix product in it."""
        return self.operations > 0


@dataclasses.dataclass(frozen=True)
class _Instruction:
    name: str
    results: tuple[Array, ...]
    opcode: str
    operands: tuple[str, ...]
    attributes: str  # the rest of the line


_Computation = dict[str, _Instruction]


def passes(text: str) -> list[Pass]:
    """The passes of the program `text`, in its order."""
    entry, computations = _parse(text)
    return list(_passes_in(computations[entry], computations))


def _passes_in(
    computation: _Computation, computations: Mapping[str, _Computation]
) -> Iterator[Pass]:
    for each in computation.values():
        called = _CALLED.search(each.attributes)
        if each.opcode in ("call", "while", "conditional") and called:
            yield from _passes_in(computations[called.group(1)], computations)
        elif each.opcode not in _FREE and not each.opcode.endswith("-done"):
            yield _as_pass(each, computation, computations)


def _as_pass(
    each: _Instruction,
    computation: _Computation,
    computations: Mapping[str, _Computation],
) -> Pass:
    target, scope = _TARGET.search(each.attributes), _SCOPE.search(each.attributes)
    cycles = _CYCLES.search(each.attributes)
    products = list(_products(each, computation, computations))
    operands = [
        array
        for name in dict.fromkeys(each.operands)
        if name in computation
        for array in computation[name].results
    ]
    return Pass(
        name=each.name,
        kind=target.group(1) if target else each.opcode,
        scope=scope.group(1) if scope else "",
        results=each.results,
        operands=tuple(operands),
        operations=sum(operations for operations, _ in products),
        float32=any(float32 for _, float32 in products),
        cycles=int(cycles.group(1)) if cycles else None,
    )


def _products(
    each: _Instruction,
    computation: _Computation,
    computations: Mapping[str, _Computation],
) -> Iterator[tuple[float, bool]]:
    """Operations of each product in an instruction, and whether it is of float32."""
    operands = [computation[name] for name in each.operands if name in computation]
    arrays = [operand.results[0] for operand in operands if operand.results]
    float32 = any(array.dtype == "f32" for array in arrays[:2])
    count = 0.0
    if each.opcode == "dot":
        contracted = _CONTRACTED.search(each.attributes)
        axes = [int(axis) for axis in contracted.group(1).split(",") if axis]
        depth = math.prod(arrays[0].shape[axis] for axis in axes)
        count = 2 * depth * math.prod(each.results[0].shape)
    elif each.opcode == "convolution" or "__cudnn$conv" in each.attributes:
        count = _convolution(each, arrays)
    elif "__cublas$" in each.attributes:
        sizes = (math.prod(a.shape) for a in (*arrays[:2], each.results[0]))
        count = 2 * math.sqrt(math.prod(sizes))  # (M K)(K N)(M N) = (M K N)^2
    if count:
        yield count, float32
    for name in _CALLED.findall(each.attributes):
        inner = computations.get(name, {})
        for instruction in inner.values():
            yield from _products(instruction, inner, computations)


def _convolution(each: _Instruction, arrays: list[Array]) -> float:
    """Operations of a convolution; a gradient by cuDNN has those of the forward one."""
    labels = _LABELS.search(each.attributes)
    if labels is None:
        return 0.0
    result, kernel = each.results[0], arrays[1]
    if "BackwardInput" in each.attributes:
        result = arrays[0]
    elif "BackwardFilter" in each.attributes:
        result, kernel = arrays[1], each.results[0]
    window = _WINDOW.search(each.attributes)
    fields = dict(f.split("=") for f in window.group(1).split()) if window else {}
    sizes = [int(size) for size in fields.get("size", "1").split("x")]
    # Pixels between those of a spread map are 0 and are not multiplied.
    spread = [int(size) for size in fields.get("lhs_dilate", "1").split("x")]
    channels = kernel.shape[labels.group(2).index("i")]
    products = math.prod(result.shape) * math.prod(sizes) * channels
    return 2 * products / math.prod(spread)


def _parse(text: str) -> tuple[str, dict[str, _Computation]]:
    """The entry's name, and all computations by name."""
    computations: dict[str, _Computation] = {}
    entry, current = "", {}
    for line in text.splitlines():
        if header := _HEADER.match(line):
            current = computations[header.group(2)] = {}
            entry = header.group(2) if header.group(1) else entry
        elif match := _LINE.match(line):
            instruction = _instruction(*match.groups())
            if instruction is not None:
                current[instruction.name] = instruction
    return entry, computations


def _instruction(name: str, rest: str) -> _Instruction | None:
    shape_end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
    opened = rest.find("(", shape_end)
    if shape_end <= 0 or opened < 0:
        return None
    closed = _closing(rest, opened)
    return _Instruction(
        name=name,
        results=tuple(_arrays(rest[:shape_end])),
        opcode=rest[shape_end:opened].strip(),
        operands=tuple(_NAME.findall(rest[opened:closed])),
        attributes=rest[closed:],
    )


def _closing(text: str, opened: int) -> int:
    """Where the bracket that opens at `opened` closes."""
    depth = 0
    for place in range(opened, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth == 0:
            return place
    return len(text)


@functools.cache
def _arrays(shape: str) -> tuple[Array, ...]:
    return tuple(
        Array(dtype, tuple(int(n) for n in dims.split(",") if n), layout)
        for dtype, dims, layout in _ARRAY.findall(shape)
    )


def _bits(dtype: str) -> int:
    return _BITS.get(dtype, int("0" + re.sub(r"\D", "", dtype)))
