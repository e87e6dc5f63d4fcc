"""What `/metrics` shows, in the format of Prometheus: this process's requests and uploads, and everybody's jobs.

Figures of jobs and workers come through Redis and are the same whichever API process is asked; those of HTTP are the
process's own. No label holds what a client chose.
"""

import importlib.metadata
import time
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.route_names import get_route_template
from worker.metrics_store import MetricsStore, WorkFigures
from worker.redis_client import StoreUnavailableError

__all__ = ["HttpMetricsMiddleware", "Metrics"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER_METHOD = "OTHER"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Up to an upload of minutes."""


class Metrics:
    """The registry of one application, and what is counted in this process."""

    def __init__(self, store: MetricsStore, *, count_uploads: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_WorkCollector(store))
        version = Gauge("emoclip_info", "The version that runs.", ["version"], registry=self._registry)
        version.labels(importlib.metadata.version("emoclip")).set(1)
        uploads = Gauge("emoclip_uploads", "Videos that this process is receiving.", registry=self._registry)
        uploads.set_function(count_uploads)
        self._requests = Counter(
            "emoclip_http_requests",
            "Requests that this process answered.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "emoclip_http_request_seconds",
            "Time until the answer began; of an upload, with its body.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self._registry,
        )

    def count_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """Note an answered request."""
        known = method if method in _METHODS else _OTHER_METHOD
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the page in the form that an Accept header asks for, and its media type. Reads Redis."""
        encode, media_type = choose_encoder(accept)
        page: bytes = encode(self._registry)
        return page, media_type


class HttpMetricsMiddleware:
    """Counts every request, the refused ones included, once its answer has begun."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        method = scope["method"]
        has_begun = False

        def count(status: int) -> None:
            nonlocal has_begun
            if not has_begun:
                has_begun = True
                self._metrics.count_request(
                    method=method,
                    route=get_route_template(scope),
                    status=status,
                    seconds=time.perf_counter() - started,
                )

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        except Exception:
            count(500)  # answered by the framework outside of every middleware
            raise


class _WorkCollector(Collector):
    """Reads the figures of jobs and workers whenever the page is asked for."""

    def __init__(self, store: MetricsStore) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Name nothing ahead: registering must not ask Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield the figures of this moment; without Redis, that it is away."""
        try:
            figures = self._store.read()
        except StoreUnavailableError:
            yield _gauge("emoclip_store_up", "1 while Redis answers.", 0)
            return
        yield _gauge("emoclip_store_up", "1 while Redis answers.", 1)
        yield from _iter_gauges(figures)
        yield from _iter_counters(figures)


def _iter_gauges(figures: WorkFigures) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("emoclip_jobs", "Jobs on their way.", labels=["state"])
    jobs.add_metric(["queued"], figures.queued)
    jobs.add_metric(["processing"], figures.processing)
    yield jobs
    yield _gauge(
        "emoclip_queue_age_seconds", "Age of the oldest queued job; 0 without any.", figures.oldest_queued_seconds
    )
    yield _gauge("emoclip_queue_messages", "Messages that wait in Celery's queue.", figures.messages)
    yield _gauge("emoclip_workers", "Workers heard from lately.", figures.workers)


def _iter_counters(figures: WorkFigures) -> Iterator[Metric]:
    yield _counter("emoclip_jobs_ended", "Jobs that came to an end.", "state", figures.ended.items())
    yield _counter("emoclip_jobs_failed", "Jobs that failed, by the reason.", "code", figures.failed.items())
    yield _counter("emoclip_frames", "Frames analysed; its rate is the frames per second.", "", [("", figures.frames)])
    yield _counter("emoclip_segments", "Segments analysed.", "", [("", figures.segments)])
    yield _counter("emoclip_busy_seconds", "Time that workers spent on segments.", "", [("", figures.busy_seconds)])
    yield _counter(
        "emoclip_stage_seconds",
        "Time that each stage of the analysis worked, its threads added up; stages overlap.",
        "stage",
        figures.stage_seconds.items(),
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label] if label else [])
    for labelled, value in values:
        family.add_metric([str(labelled)] if label else [], value)
    return family
