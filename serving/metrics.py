"""Prometheus metrics. Labels are routes, statuses and the names of stages; never an identifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from rag_rec.domain import Recommendation
from rag_rec.errors import BrokenLedger, Busy, RagRecError, Unfinished, WrongKey
from rag_rec.forgetting.request import ForgetOutcome
from serving.connections import Connections
from serving.forget_clock import ForgetClock
from serving.lanes import Lane

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.engine.engine import Engine

SECONDS = (0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.0, 10.0)

SERVER_ERRORS = (RagRecError, Unfinished, Busy, WrongKey, BrokenLedger)
"""What a forget request can end in through no fault of the caller."""


class Metrics:
    """The metrics of one service."""

    def __init__(self, engine: Callable[[], Engine | None], lanes: Sequence[Lane], connections: Connections) -> None:
        registry = self.registry = CollectorRegistry()
        labels = ["method", "route"]
        self.requests = Counter("ragrec_http_requests", "Requests answered.", [*labels, "status"], registry=registry)
        self.seconds = Histogram(
            "ragrec_http_request_seconds", "Time to answer.", labels, buckets=SECONDS, registry=registry
        )
        self.in_flight = Gauge("ragrec_http_requests_in_flight", "Requests under way.", registry=registry)
        self.recommendations = Counter(
            "ragrec_recommendations",
            "Answers by the stage that decided their order.",
            ["source", "strategy", "known_user"],
            registry=registry,
        )
        self.fallbacks = Counter(
            "ragrec_generator_fallbacks",
            "Answers in which the LLM took no part, by the reason.",
            ["reason"],
            registry=registry,
        )
        self.forgets = Histogram(
            "ragrec_forget_seconds", "Time to forget.", ["scope"], buckets=SECONDS, registry=registry
        )
        self.refresh_failures = Counter(
            "ragrec_refresh_failures", "Index generations that could not be taken up.", registry=registry
        )
        self.forget_failures = Counter(
            "ragrec_forget_failures",
            "Forget requests that ended in an error, by its code.",
            ["code"],
            registry=registry,
        )
        for error in SERVER_ERRORS:  # a counter that begins at one would hide its first increase
            self.forget_failures.labels(error.code)
        self.cut_off = Counter(
            "ragrec_answers_cut_off", "Answers that a removal did not wait for any longer.", registry=registry
        )
        self.worker = Gauge("ragrec_worker", "Number of this worker; 0 where there is one process.", registry=registry)
        self.forgetting = ForgetClock(engine)
        registry.register(self.forgetting)
        ProcessCollector(registry=registry)
        registry.register(StatusCollector(engine, lanes))
        registry.register(ConnectionCollector(connections))

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; ``route`` is its template."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)

    def count_refusal(self, method: str, route: str) -> None:
        """Count a request that was refused at the gate, in no time."""
        self.requests.labels(method, route, "503").inc()

    def answered(self) -> int:
        """How many requests were answered so far."""
        families = self.requests.collect()
        return int(sum(s.value for family in families for s in family.samples if s.name.endswith("_total")))

    def count_recommendation(self, answer: Recommendation) -> None:
        """Count one recommendation by its source."""
        provenance = answer.provenance
        known = "true" if provenance.known_user else "false"
        self.recommendations.labels(provenance.source.value, provenance.strategy.value, known).inc()
        if provenance.fallback is not None:
            self.fallbacks.labels(provenance.fallback).inc()

    def count_forget(self, outcome: ForgetOutcome, seconds: float) -> None:
        """Observe how long a removal took until it was acknowledged; a repetition removes nothing."""
        if not outcome.repeated:
            self.forgets.labels(outcome.scope).observe(seconds)

    def count_forget_failure(self, error: Exception) -> None:
        """Count a removal that ended in an error."""
        code = error.code if isinstance(error, RagRecError) else RagRecError.code
        self.forget_failures.labels(code).inc()

    def render(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self.registry)


class StatusCollector(Collector):
    """Asks engine and lanes for their state when the metrics are read."""

    def __init__(self, engine: Callable[[], Engine | None], lanes: Sequence[Lane]) -> None:
        self._engine = engine
        self._lanes = lanes

    def describe(self) -> Iterator[Metric]:
        """Nothing: describing would ask the engine before it is there."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics of the moment."""
        yield from self._lane_metrics()
        engine = self._engine()
        try:
            status = engine.status() if engine else None
        except RagRecError:
            status = None
        yield GaugeMetricFamily("ragrec_ready", "Whether the service can answer.", float(bool(status and status.ready)))
        if status is None:
            return
        generation = GaugeMetricFamily("ragrec_generation_info", "Index generation in use.", labels=["generation"])
        generation.add_metric([status.generation], 1.0)
        yield generation
        yield GaugeMetricFamily("ragrec_epoch", "Newest change in memory.", status.epoch)
        yield GaugeMetricFamily("ragrec_erasure_epoch", "Newest removal in the store.", status.erasure_epoch)
        yield GaugeMetricFamily(
            "ragrec_ledger_copy_lag",
            "Entries that the copy of the ledger lacks; -1 if it cannot be read or its last entry is not the store's.",
            status.ledger_copy_lag,
        )
        yield CounterMetricFamily(
            "ragrec_suppressed_events", "Events refused because a person had been forgotten.", status.suppressed
        )
        yield CounterMetricFamily(
            "ragrec_removal_process_losses",
            "Removals whose process was lost; this one finished them.",
            status.removal_process_losses,
        )
        yield GaugeMetricFamily("ragrec_lag", "Changes that the store is ahead of memory.", status.lag)
        yield GaugeMetricFamily("ragrec_users", "Users stored.", status.users)
        yield GaugeMetricFamily("ragrec_items", "Items stored.", status.items)
        yield GaugeMetricFamily("ragrec_interactions", "Interactions stored.", status.interactions)

    def _lane_metrics(self) -> Iterator[Metric]:
        pending = GaugeMetricFamily("ragrec_lane_pending", "Calls that run or wait.", labels=["lane"])
        refused = CounterMetricFamily("ragrec_lane_refused", "Calls refused at the limit.", labels=["lane"])
        for lane in self._lanes:
            pending.add_metric([lane.name], lane.pending)
            refused.add_metric([lane.name], lane.refused)
        yield pending
        yield refused


class ConnectionCollector(Collector):
    """Looks at the open connections when the metrics are read."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def describe(self) -> Iterator[Metric]:
        """Nothing, like the others."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics of the moment."""
        yield GaugeMetricFamily("ragrec_connections", "Open connections.", len(self._connections))
        ended = CounterMetricFamily("ragrec_connections_ended", "Connections that the service ended.", labels=["why"])
        ended.add_metric(["refused"], self._connections.refused)
        ended.add_metric(["evicted"], self._connections.evicted)
        ended.add_metric(["expired"], self._connections.expired)
        yield ended
