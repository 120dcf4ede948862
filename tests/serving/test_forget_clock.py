from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from rag_rec.errors import Busy, UnknownRequest
from rag_rec.layers.records import ForgetRecord, ForgetState
from serving import forget_clock as module
from serving.forget_clock import ForgetClock, names_of
from tests.serving.fake_engine import FakeEngine
from tests.serving.records import DAY, record


class Watched:
    """A clock over an engine, read as Prometheus reads it."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.now = 0
        self.clock = ForgetClock(lambda: self.engine, lambda: 1000 * self.now)
        self.registry = CollectorRegistry()
        self.registry.register(self.clock)

    def put(self, *records: ForgetRecord) -> None:
        self.engine.records.update({each.request_id: each for each in records})

    def complete(self, request_id: str) -> None:
        self.put(replace(self.engine.records[request_id], state=ForgetState.COMPLETE))

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"ragrec_forget_{name}", labels)

    def counted(self, state: str) -> float | None:
        return self.value("state_seconds_count", state=state)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_nothing_waits(watched: Watched) -> None:
    for state in ("accepted", "hidden", "erased", "effective", "unlearned"):
        assert watched.value("pending", state=state) == 0
    assert watched.value("pending", state="complete") is None
    assert watched.value("oldest_pending_seconds") == 0
    assert watched.value("overdue") == 0
    assert watched.value("deadline_seconds") is None


def test_what_waits_has_an_age_and_a_deadline(watched: Watched) -> None:
    watched.put(record("a", ForgetState.EFFECTIVE, created=DAY), record("b", ForgetState.ERASED, created=3 * DAY))
    watched.put(record("c", ForgetState.COMPLETE))
    watched.now = 5 * DAY
    assert watched.value("pending", state="effective") == 1
    assert watched.value("pending", state="erased") == 1
    assert watched.value("oldest_pending_seconds") == 4 * DAY
    assert watched.value("deadline_seconds") == 26 * DAY
    assert watched.value("overdue") == 0
    watched.now = 32 * DAY
    assert watched.value("deadline_seconds") == -DAY
    assert watched.value("overdue") == 1


def test_the_times_of_a_complete_request_are_counted_once(watched: Watched) -> None:
    watched.put(record("a", ForgetState.COMPLETE, created=10))
    assert watched.counted("complete") is None  # carried out elsewhere
    watched.clock.expect(["a"])
    for _ in range(2):
        assert watched.counted("complete") == 1
    assert watched.counted("hidden") == 1
    assert watched.value("state_seconds_sum", state="complete") == 3


def test_a_request_that_was_seen_waiting_is_counted_when_it_is_complete(watched: Watched) -> None:
    watched.put(record("a", ForgetState.EFFECTIVE), record("b1", ForgetState.EFFECTIVE, batch_id="b"))
    watched.put(record("b2", ForgetState.EFFECTIVE, batch_id="b"))
    assert watched.counted("hidden") is None
    watched.complete("b1")
    assert watched.counted("hidden") is None
    watched.complete("b2")
    assert watched.counted("hidden") == 2
    watched.complete("a")
    assert watched.counted("hidden") == 3
    assert watched.counted("hidden") == 3


def test_a_request_that_is_accepted_meanwhile_is_counted_later(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.put(record("a", ForgetState.EFFECTIVE))
    watched.clock.expect(["a"])
    monkeypatch.setattr(watched.engine.officer, "pending", list)
    assert watched.counted("hidden") is None
    watched.complete("a")
    assert watched.counted("hidden") == 1


def test_a_request_that_a_restored_store_does_not_know_is_let_go(watched: Watched) -> None:
    watched.clock.expect(["a"])
    assert watched.counted("hidden") is None
    watched.engine.records["a"] = record("a", ForgetState.COMPLETE)
    assert watched.counted("hidden") is None
    with pytest.raises(UnknownRequest):
        watched.engine.officer.forget_records("b")


def test_a_store_that_cannot_be_asked_shows_no_figures(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy() -> list[ForgetRecord]:
        raise Busy("The store is busy.")

    monkeypatch.setattr(watched.engine.officer, "pending", busy)
    assert watched.value("overdue") is None


def test_before_the_engine_is_there_nothing_is_shown() -> None:
    registry = CollectorRegistry()
    registry.register(ForgetClock(lambda: None))
    assert registry.get_sample_value("ragrec_forget_overdue") is None


@pytest.mark.parametrize(("bound", "counted"), [(2, 2), (3, 3), (4, 3)])
def test_what_nobody_reads_does_not_pile_up(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, bound: int, counted: int
) -> None:
    monkeypatch.setattr(module, "EXPECTED", bound)
    watched.put(*(record(name, ForgetState.COMPLETE) for name in "abc"))
    watched.clock.expect("abc")
    assert watched.counted("complete") == counted


def test_a_batch_is_one_name() -> None:
    records = [record("b1", ForgetState.ERASED, batch_id="b"), record("b2", ForgetState.ERASED, batch_id="b")]
    assert names_of([*records, record("a", ForgetState.ERASED)]) == {"a", "b"}


def test_it_tells_the_time() -> None:
    engine = FakeEngine(records={"a": record("a", ForgetState.ERASED)})
    registry = CollectorRegistry()
    registry.register(ForgetClock(lambda: engine))
    assert registry.get_sample_value("ragrec_forget_overdue") == 1  # accepted in 1970
