"""Whether a run fits on TPUs that are not here, and what a step of it costs there.

    python -m benchmarks.tpu_compile --topology=v5e:4x4 --config=configs/openkbp.py \
        [--config.KEY=VALUE ...] [--backends=jit,pmap] [--parts=train,inference] \
        [--bisect] [--out=DIR]

The step of training and that of inference are compiled for the topology as on a machine
that has it; the extra `tpu` brings the compiler. Comes out: memory of a chip,
operations, bytes, collectives and an estimate of the speed, printed and in
`result.json` and `table.md` in `--out`. Exit status: 0 all fit; 1 bad input, no
compiler, or something does not fit; 2 usage.
"""

import importlib.util
import os
import sys

from mtl_jax.core import errors

# Everything but the compiler stays on the CPU, and no pod is looked for.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def main() -> int:
    """Set the scene before JAX is imported, then do what the flags say."""
    asks_for_help = {"--help", "-h"} & set(sys.argv)
    if importlib.util.find_spec("libtpu") is None and not asks_for_help:
        return errors.tell(
            "libtpu, the compiler for TPUs, is not installed: make venv EXTRAS=tpu, or "
            "pip install 'jax[tpu]'",
            1,
        )
    os.environ.update(ENVIRONMENT)
    from benchmarks.tpu_compile import command

    return command.run(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
