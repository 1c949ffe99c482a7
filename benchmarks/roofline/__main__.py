"""Memory, cost and roofline of a run's steps, computed without any device.

    python -m benchmarks.roofline --topology=v5e:1x1 --config=configs/openkbp.py:multi \
        --config.model.dtype=bfloat16 [--config.KEY=VALUE ...] [--backends=jit,pmap] \
        [--parts=train,inference] [--bisect] [--out=DIR]

Compiles the training step and the inference step for TPUs (v5e:4x4, ...), for a GPU
(h200, h100, a100) or for this CPU (cpu), as a machine with these devices would; the
extras `tpu` and `gpu-compiler` bring the compilers. Output: memory of a chip,
operations, bytes, collectives, cycles where the compiler estimates them, the least time
by each, and the parts of the network by their share: printed and written to
`result.json`, `table.md` and `parts.png` in `--out`. All figures are the compiler's:
nothing is run. Exit status: 0 all programs fit; 1 a program does not fit, bad input, or
no compiler; 2 usage.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Sequence

from mtl_jax.core import errors

# Only the compiler is for other devices: JAX runs on the CPU, and looks for no pod.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # its lock is for a device
}


def missing_compiler(arguments: Sequence[str]) -> str:
    """What to install for the topology of the command line; "" if nothing."""
    topology = ""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word in ("--help", "-h"):
            return ""
        if word == "--topology" or word.startswith("--topology="):
            topology = word.partition("=")[2] or following
    if re.match(r"v\d", topology) and importlib.util.find_spec("libtpu") is None:
        return (
            "libtpu, the compiler for TPUs, is not installed: make venv EXTRAS=tpu, or "
            "pip install 'jax[tpu]'"
        )
    plugins = importlib.util.find_spec("jax_plugins")
    if re.match(r"[ah]\d", topology) and plugins is None:
        return (
            "the compiler for NVIDIA's GPUs is not installed: make venv "
            "EXTRAS=gpu-compiler, or pip install 'jax[cuda12]'"
        )
    return ""


def main() -> int:
    """Set the environment before JAX is imported, then run the command."""
    if missing := missing_compiler(sys.argv[1:]):
        return errors.print_error(missing, 1)
    os.environ.update(ENVIRONMENT)
    from benchmarks.roofline import command

    return command.run(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
