"""What the receiver counts, for Prometheus."""

from __future__ import annotations

import time
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["Metrics"]

#: Seconds. The platform gives up after 10.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The figures of one receiver.

    Attributes:
        registry: all of them, for an endpoint.
        received: deliveries that came, whatever became of them.
        refused: those that got no 2xx, by reason.
        written: events that were stored, by place: `archive`, `spool`; `drained` is from the spool to the archive.
        deprecated: deliveries that were verified by the deprecated headers alone.
        seconds: from a delivery's headers to its 2xx.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.received = self._counter("received", "Deliveries that came")
        self.refused = self._counter("refused", "Deliveries that were not acknowledged", "reason")
        self.written = self._counter("written", "Events that were stored durably", "place")
        self.deprecated = self._counter("deprecated_headers", "Deliveries verified by X-Webhook-* headers alone")
        self.seconds = Histogram(
            "linq_webhooks_acknowledgement_seconds",
            "From the headers of a delivery to its acknowledgement",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.spooled = Gauge(
            "linq_webhooks_spooled_events", "Events in the spool, not yet in the archive", registry=self.registry
        )
        self._oldest_spooled: datetime | None = None
        Gauge(
            "linq_webhooks_oldest_spooled_age_seconds",
            "Age of the oldest event that is in the spool and not yet in the archive, 0 if there is none",
            registry=self.registry,
        ).set_function(self._oldest_age)

    def note_oldest_spooled(self, received_at: datetime | None) -> None:
        """Note when the oldest event in the spool was received; None if it is empty."""
        self._oldest_spooled = received_at

    def _oldest_age(self) -> float:
        return 0.0 if self._oldest_spooled is None else max(0.0, time.time() - self._oldest_spooled.timestamp())

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"linq_webhooks_{name}", meaning, labels, registry=self.registry)
