"""The node's figures, as Prometheus reads them.

Input: what happened. Output: the text of `/metrics`. No figure names a patient.
"""

import prometheus_client
from prometheus_client import core, registry

from mtl_jax.node import reasons, series_queue

PREFIX = "mtl_jax_node"
_SECONDS = (1, 3, 10, 30, 100, 300, 1000, 3000)


class Measurements:
    """Counters since the node started, and the queue as it is."""

    def __init__(self, queue: series_queue.Queue) -> None:
        prometheus_client.disable_created_metrics()  # twice the lines, of no use here
        self._registry = own = registry.CollectorRegistry()
        self.received = prometheus_client.Counter(
            f"{PREFIX}_objects", "objects received", ["kind"], registry=own
        )
        self.refused = prometheus_client.Counter(
            f"{PREFIX}_refused", "what was refused, by reason", ["reason"], registry=own
        )
        for reason in reasons.NAMES:
            self.refused.labels(reason)  # 0 until it happens
        self.sent = prometheus_client.Counter(
            f"{PREFIX}_sent", "objects that the archive took", registry=own
        )
        self.not_sent = prometheus_client.Counter(
            f"{PREFIX}_not_sent", "attempts to send that failed", registry=own
        )
        self.checks_failed = prometheus_client.Counter(
            f"{PREFIX}_checks_failed",
            "predictions that fail their checks",
            registry=own,
        )
        self.seconds = prometheus_client.Histogram(
            f"{PREFIX}_predict_seconds",
            "seconds from reading a series to its files",
            buckets=_SECONDS,
            registry=own,
        )
        own.register(_InStates(queue))

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return prometheus_client.generate_latest(self._registry)


class _InStates(registry.Collector):
    """How many series are in each state."""

    def __init__(self, queue: series_queue.Queue) -> None:
        self._queue = queue

    def collect(self) -> list[core.GaugeMetricFamily]:
        gauge = core.GaugeMetricFamily(
            f"{PREFIX}_series", "series by state", labels=["state"]
        )
        for state in series_queue.STATES:
            gauge.add_metric([state], len(self._queue.folders(state)))
        return [gauge]
