"""The formats in which a program is written: StableHLO and ONNX.

Input: a `program.Program`. Output: a file; and the function that the file holds, as a
program without this package would call it. Batches may have any size.
"""

import dataclasses
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mtl_jax.core import errors
from mtl_jax.portable import program as programs

# jax2onnx asks for an older orbax-checkpoint, which it does not use for this.
INSTALL_ONNX = "pip install 'mtl-jax[onnx]', then pip install --no-deps jax2onnx"

# Images to outputs by task.
Function = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Format:
    """How a program is written, and read back."""

    write: Callable[[programs.Program, Sequence[str], Path], None]
    read: Callable[[Path], Function]


def _write_stablehlo(
    program: programs.Program, platforms: Sequence[str], path: Path
) -> None:
    (batch,) = jax.export.symbolic_shape("batch")
    image = jax.ShapeDtypeStruct((batch, *program.image_shape), np.float32)
    exported = jax.export.export(jax.jit(program.function), platforms=platforms)(image)
    path.write_bytes(exported.serialize())


def _read_stablehlo(path: Path) -> Function:
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    call = jax.jit(exported.call)

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        return {task: np.asarray(output) for task, output in call(image).items()}

    return run


def _write_onnx(program: programs.Program, _: Sequence[str], path: Path) -> None:
    to_onnx = _import("jax2onnx").to_onnx
    tasks = sorted(program.description["output"])

    def outputs(image: jax.Array) -> tuple[jax.Array, ...]:
        by_task = program.function(image)
        return tuple(by_task[task] for task in tasks)

    try:
        model = to_onnx(
            outputs,
            [("batch", *program.image_shape)],
            model_name=program.description["network"],
            input_names=["image"],
            output_names=tasks,
        )
    # What a converter raises for an operation that it does not know may be anything.
    except Exception as error:
        raise errors.OutputError(
            "jax2onnx cannot convert this network, in "
            f"{program.description['type']}: {str(error)[:300]}"
        ) from error
    _pool_planes(model.graph)
    path.write_bytes(model.SerializeToString())


def _pool_planes(graph: Any) -> None:
    """Let each maximum over a window of [1, k, k, 1] be one over planes.

    jax2onnx puts two axes before those of the image [B, H, W, C] and takes the maximum
    over all four, which ONNX Runtime cannot: at most three.
    """
    node_of = _import("onnx").helper.make_node
    made_by = {name: node for node in graph.node for name in node.output}
    used_by = {name: node for node in graph.node for name in node.input}
    nodes, replaced = [], set()
    for node in graph.node:
        values = {each.name: list(each.ints) for each in node.attribute}
        if node.op_type != "MaxPool" or len(values["kernel_shape"]) != 4:
            nodes.append(node)
            continue
        inner, after = made_by[node.input[0]], used_by[node.output[0]]
        outer = made_by[inner.input[0]]
        replaced |= {inner.name, outer.name, after.name}
        planes, largest = f"{node.name}_planes", f"{node.name}_largest"
        pads = values.get("pads", [0] * 8)
        window = {
            "kernel_shape": values["kernel_shape"][1:3],
            "strides": values["strides"][1:3],
            "pads": pads[1:3] + pads[5:7],
        }
        nodes += [
            node_of("Transpose", [outer.input[0]], [planes], perm=[0, 3, 1, 2]),
            node_of("MaxPool", [planes], [largest], **window),
            node_of("Transpose", [largest], [after.output[0]], perm=[0, 2, 3, 1]),
        ]
    del graph.node[:]
    graph.node.extend(node for node in nodes if node.name not in replaced)
    # The shapes that were noted beside the nodes are those of the axes before.
    del graph.value_info[:]


def _read_onnx(path: Path) -> Function:
    runtime = _import("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # no notes on its own simplifications
    session = runtime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    tasks = [output.name for output in session.get_outputs()]

    def run(image: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(tasks, session.run(None, {"image": image}), strict=True))

    return run


def _import(name: str) -> Any:
    if not importlib.util.find_spec(name):
        raise errors.OutputError(
            f"ONNX needs {name}, which is not installed: {INSTALL_ONNX}"
        )
    return importlib.import_module(name)


FORMATS = {
    "stablehlo": Format(_write_stablehlo, _read_stablehlo),
    "onnx": Format(_write_onnx, _read_onnx),
}
