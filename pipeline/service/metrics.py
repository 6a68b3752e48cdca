"""What Prometheus is told: `/metrics`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """Counters of one service; they may be used on any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "imgsearch_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self.seconds = Histogram(
            "imgsearch_request_seconds",
            "From the request's first byte to the answer's last",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "imgsearch_batch_photos",
            "Photos that a model was given at a time",
            buckets=(1, 2, 4, 8, 16),
            registry=self._registry,
        )
        self.searches = Gauge(
            "imgsearch_searches", "Searches that are answered or wait", registry=self._registry
        )
        self.publications = Counter(
            "imgsearch_publications", "Publications that began to answer", registry=self._registry
        )

    def exposition(self) -> bytes:
        """Return all of them in Prometheus's text format."""
        return generate_latest(self._registry)
