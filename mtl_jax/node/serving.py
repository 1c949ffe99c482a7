"""A node with given flags: its network, its loops, and what stops it.

Input: the values of the flags. Output: a node that serves until a signal comes, and the
command's exit status.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import logging as absl_logging

from mtl_jax.core import command_line, errors, locks
from mtl_jax.node import (
    arrivals,
    deliveries,
    measurements,
    predictions,
    receiver,
    series_queue,
    service,
    web_page,
)
from mtl_jax.node import limits as node_limits
from mtl_jax.predict import averaged, cases, trained_model
from mtl_jax.run import stopping
from mtl_jax.sources.dicom import reader
from mtl_jax.train import compilation

logger = logging.getLogger("mtl_jax.node")

# A loop whose call takes longer is reported as a problem: more than all time limits of
# a question to a sender, or of a round of deliveries.
LATE_S = 600.0


def serve(flags: argparse.Namespace) -> int:
    """Serve until a signal comes; returns the exit status."""
    os.umask(0o077)  # what the node writes is for its own user
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax logs a lot
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", force=True)
    command_line.set_log_level()
    receiver.silence()
    compilation.keep_programs()
    try:
        with stopping.raise_on_signal():
            _open(flags)
            return 0
    except stopping.Stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return stopping.STATUS
    except errors.MtlError as error:
        return errors.print_error(error, 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return errors.print_error(
            f"a file, folder or port cannot be used ({reason})", 1
        )


def find_model(paths: Sequence[Path]) -> trained_model.TrainedModel:
    """The model in `paths`; an error if it needs more than a CT."""
    model = averaged.describe(paths)
    if model.role.input.needs_rtstruct:
        raise errors.ConfigError(
            f"the role {model.role.name} takes contours, which do not come with a CT: "
            "give a checkpoint of another role"
        )
    return model


def _open(flags: argparse.Namespace) -> None:
    model = find_model(flags.checkpoint)
    if model.introduction and not command_line.is_quiet():
        print(model.introduction, flush=True)
    with locks.held(flags.state, "give another --state"):
        _run(flags, model)


def _run(flags: argparse.Namespace, model: trained_model.TrainedModel) -> None:
    limits, title = node_limits.of_flags(flags), flags.ae_title
    queue = series_queue.Queue(flags.state, limits)
    figures = measurements.Measurements(queue)
    reading = cases.ReadingOptions(reader.Options(accept=flags.accept), {})
    network = trained_model.load(model)
    state = series_queue.SENDING if flags.send_to else series_queue.DONE
    worker = predictions.Predictions(queue, network, reading, limits, figures, state)
    watch = arrivals.Arrivals(queue, flags.allow, title, limits, figures)
    send = deliveries.Deliveries(queue, flags.send_to, title, limits, figures)
    late_s = 60 * limits.predict_minutes
    loops = [
        service.Loop("predictions", worker.predict_next, 0.5, late_s),
        service.Loop("arrivals", watch.look, 0.5, LATE_S),
        service.Loop("deliveries", send.round, 1.0, LATE_S),
    ]
    page = web_page.Server(
        (flags.web_bind, flags.web_port),
        queue,
        figures,
        lambda: service.problems(loops, flags.state, limits.free_gb),
    )
    server = receiver.Receiver(queue, flags.allow, limits, figures)
    try:
        port = server.start(flags.bind, flags.port, title)
        logger.info("%s listens on %s port %d", title, flags.bind, port)
        logger.info("page: http://%s:%d/", flags.web_bind, page.start())
        for loop in loops[1:]:
            loop.start()
        loops[0].run()
    finally:
        server.stop()
