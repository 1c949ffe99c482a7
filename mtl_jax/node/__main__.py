"""A DICOM node: takes CTs by C-STORE, predicts, and sends RTSTRUCT and RTDOSE back.

    python -m mtl_jax.node [--checkpoint=DIR|NAME[,...]] [--port=11112]
        [--ae_title=MTL_JAX] [--send_to=HOST:PORT,AE] [--allow=AE@ADDRESS[:PORT]]...

For research only: the output is AI-generated, and not for clinical use.
Exit status: 1 bad input, or a prediction that takes too long; 2 usage; 75 stopped.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from absl import flags as absl_flags
from absl import logging as absl_logging

from mtl_jax.core import errors, locks
from mtl_jax.node import (
    arrivals,
    deliveries,
    measurements,
    peers,
    predictions,
    receiver,
    series_queue,
    service,
    web_page,
)
from mtl_jax.node import limits as node_limits
from mtl_jax.predict import averaged, cases, trained_model
from mtl_jax.run import stopping
from mtl_jax.sources.clinical import reading_flags
from mtl_jax.sources.dicom import reader
from mtl_jax.train import compilation
from mtl_jax.zoo import packaged

logger = logging.getLogger("mtl_jax.node")

T = TypeVar("T")
# A loop whose call takes longer is reported as a problem: more than all time limits of
# a question to a sender, or of a round of deliveries.
LATE_S = 600.0


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The command's flags; exits with status 2 if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m mtl_jax.node",
        description="A DICOM node that predicts the CTs sent to it, for research only.",
    )
    parser.add_argument(
        "--checkpoint",
        default=packaged.DEFAULT,
        metavar="DIR|NAME[,...]",
        help="as of mtl_jax.predict (default: %(default)s)",
    )
    parser.add_argument(
        "--ae_title",
        type=_checked(peers.parse_title),
        default="MTL_JAX",
        help="the node's own AE title (default: %(default)s)",
    )
    parser.add_argument(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen for DICOM (default: %(default)s, this machine only)",
    )
    parser.add_argument(
        "--port",
        type=_checked(peers.parse_port),
        default=11112,
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--allow",
        type=_checked(peers.parse_sender),
        action="append",
        metavar="AE@ADDRESS[:PORT]",
        help="a sender: its AE title, its address or network, and, if it answers "
        "C-FIND, the port for that; may be given several times (default: any title "
        "on this machine)",
    )
    parser.add_argument(
        "--send_to",
        type=_checked(peers.parse_archive),
        metavar="HOST:PORT,AE",
        help="where results are sent (default: they stay in --state)",
    )
    _add_other_flags(parser)
    flags = parser.parse_args(arguments)
    if flags.allow is None and not peers.is_this_machine(flags.bind):
        parser.error("--bind is open to other machines: name the senders by --allow")
    flags.allow = flags.allow or list(peers.THIS_MACHINE)
    return flags


def _add_other_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state",
        type=_path,
        default=Path("runs/node"),
        help="folder of the queue and the results (default: %(default)s)",
    )
    parser.add_argument(
        "--web_bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where to listen for browsers (default: %(default)s)",
    )
    parser.add_argument(
        "--web_port",
        type=_checked(peers.parse_port),
        default=11180,
        help="port of the page, /health and /metrics (default: %(default)s)",
    )
    reading_flags.add_accept(parser)
    node_limits.add_flags(parser)


def _checked(parse: Callable[[str], T]) -> Callable[[str], T]:
    """`parse` as the type of a flag: its ValueError is a usage error, with its text."""

    def parse_flag(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_flag


def _path(text: str) -> Path:
    # Shells do not expand the ~ of --state=~/node.
    return Path(text).expanduser()


def _model(text: str) -> trained_model.TrainedModel:
    """The model that the flag names; an error if it needs more than a CT."""
    paths = [_path(text)]
    if not paths[0].exists():  # no path with a comma in it
        paths = [_path(part) for part in text.split(",")]
    model = averaged.describe(paths)
    if model.role.input.needs_rtstruct:
        raise errors.ConfigError(
            f"the role {model.role.name} takes contours, which do not come with a CT: "
            "give a checkpoint of another role"
        )
    return model


def run(flags: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    model = _model(flags.checkpoint)
    if model.introduction:
        print(model.introduction, flush=True)
    with locks.held(flags.state, "give another --state"):
        _serve(flags, model)
    return 0


def _serve(flags: argparse.Namespace, model: trained_model.TrainedModel) -> None:
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


def main(arguments: list[str]) -> int:
    """The command; returns the exit status."""
    flags = parse_flags(arguments)
    os.umask(0o077)  # what the node writes is for its own user
    if not absl_flags.FLAGS.is_parsed():
        absl_flags.FLAGS.mark_as_parsed()  # Grain reads its flags: defaults
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax logs a lot
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("mtl_jax").setLevel(logging.INFO)
    receiver.silence()
    compilation.keep_programs()
    try:
        with stopping.raise_on_signal():
            return run(flags)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
