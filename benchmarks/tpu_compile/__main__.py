"""Memory and cost of a run on TPUs, computed on a machine that has none.

    python -m benchmarks.tpu_compile --topology=v5e:4x4 --config=configs/openkbp.py \
        [--config.KEY=VALUE ...] [--backends=jit,pmap] [--parts=train,inference] \
        [--bisect] [--out=DIR]

Compiles the training step and the inference step for the topology, as a machine with
these TPUs would; the extra `tpu` brings the compiler. Output: memory of a chip,
operations, bytes, collectives and an estimate of the speed, printed and written to
`result.json` and `table.md` in `--out`. Exit status: 0 all programs fit; 1 a program
does not fit, bad input, or no compiler; 2 usage.
"""

import importlib.util
import os
import sys

from mtl_jax.core import errors

# Only the compiler is for TPUs: JAX runs on the CPU, and does not look for a pod.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def main() -> int:
    """Set the environment before JAX is imported, then run the command."""
    asks_for_help = {"--help", "-h"} & set(sys.argv)
    if importlib.util.find_spec("libtpu") is None and not asks_for_help:
        return errors.print_error(
            "libtpu, the compiler for TPUs, is not installed: make venv EXTRAS=tpu, or "
            "pip install 'jax[tpu]'",
            1,
        )
    os.environ.update(ENVIRONMENT)
    from benchmarks.tpu_compile import command

    return command.run(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
