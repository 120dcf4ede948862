"""How long forget requests have been waiting, and how long each of their states took.

A request waits for its slowest layer: another replica, or an adapter that has to be trained again. The law gives it a
deadline (GDPR, article 12(3)), so what waits is shown with its age and with the time that is left.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from prometheus_client import Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from rag_rec.clock import now_ms
from rag_rec.errors import RagRecError, UnknownRequest
from rag_rec.layers.records import ForgetRecord, ForgetState

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.engine.engine import Engine

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
SECONDS: Final = (
    *(0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 20.0, MINUTE, 10 * MINUTE),
    *(HOUR, 6 * HOUR, DAY, 3 * DAY, 7 * DAY, 14 * DAY, 30 * DAY),
)
EXPECTED: Final = 10_000
"""Most requests and batches that are remembered until the metrics are read; beyond it the oldest go uncounted."""


class ForgetClock(Collector):
    """Looks at the forget requests when the metrics are read.

    The states of a request are counted once it is complete, by every service that carried it out or saw it waiting.

    Args:
        engine: the engine, None while it loads.
        now: milliseconds since 1970 UTC.
    """

    def __init__(self, engine: Callable[[], Engine | None], now: Callable[[], int] = now_ms) -> None:
        self._engine = engine
        self._now = now
        self._expected: dict[str, None] = {}  # in the order of their arrival
        self._looking = threading.Lock()
        self._seconds = Histogram(
            "ragrec_forget_state_seconds",
            "Time from the acceptance of a forget request to each of its states.",
            ["state"],
            buckets=SECONDS,
            registry=None,
        )

    def expect(self, names: Iterable[str]) -> None:
        """Count the states of these requests and batches when they are complete."""
        for name in names:
            self._expected[name] = None
        excess = max(0, len(self._expected) - EXPECTED)
        for name in list(self._expected)[:excess]:
            self._expected.pop(name, None)

    def describe(self) -> Iterator[Metric]:
        """Nothing: describing would ask the engine before it is there."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The metrics of the moment."""
        engine = self._engine()
        try:
            pending = self._look(engine) if engine else None
        except RagRecError:
            pending = None
        yield from self._seconds.collect()
        if pending is not None:
            yield from _waiting(pending, self._now())

    def _look(self, engine: Engine) -> Sequence[ForgetRecord]:
        """What is pending; what no longer is has become complete, and is counted."""
        with self._looking:
            pending = engine.officer.pending()
            waiting = names_of(pending)
            for name in [name for name in list(self._expected) if name not in waiting]:
                self._count(engine, name)
            self.expect(waiting)
            return pending

    def _count(self, engine: Engine, name: str) -> None:
        try:
            records = engine.officer.forget_records(name)
        except UnknownRequest:  # the store was restored from before it
            records = []
        if any(record.state is not ForgetState.COMPLETE for record in records):
            return  # accepted since the look at what is pending
        for record in records:
            for state, reached in record.times.items():
                self._seconds.labels(state).observe((reached - record.created) / 1000)
        self._expected.pop(name, None)


def names_of(records: Iterable[ForgetRecord]) -> set[str]:
    """Ids of the batches, and of the requests that belong to none."""
    return {record.batch_id or record.request_id for record in records}


def _waiting(pending: Sequence[ForgetRecord], now: int) -> Iterator[Metric]:
    by_state = Counter(record.state for record in pending)
    waiting = GaugeMetricFamily("ragrec_forget_pending", "Forget requests that wait, by state.", labels=["state"])
    for state in ForgetState:
        if state is not ForgetState.COMPLETE:
            waiting.add_metric([state.value], by_state[state])
    yield waiting
    oldest = max((now - record.created for record in pending), default=0)
    yield GaugeMetricFamily("ragrec_forget_oldest_pending_seconds", "Age of the oldest that waits.", oldest / 1000)
    overdue = sum(record.deadline < now for record in pending)
    yield GaugeMetricFamily("ragrec_forget_overdue", "How many wait beyond their deadline.", overdue)
    if pending:
        left = min(record.deadline for record in pending) - now
        help_text = "Time to the earliest deadline, negative when it is missed; there is none while nothing waits."
        yield GaugeMetricFamily("ragrec_forget_deadline_seconds", help_text, left / 1000)
