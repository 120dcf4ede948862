"""Requests that wait for an adapter, and trainings that begin while one is carried out."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.adapters.folder import AdapterStore
from rag_rec.engine.engine import Engine
from rag_rec.engine.system import open_system
from rag_rec.errors import Unfinished
from rag_rec.forgetting.receipts.document import findings_in, read_receipt
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.layers.finding import LayerName, Status
from rag_rec.layers.records import ForgetState, Group
from rag_rec.presence.replicas import present
from rag_rec.store.layer import StoreLayer
from rag_rec.store.protocol import Store
from rag_rec.store.records import Debt
from tests.homes import build, running
from tests.rag_rec.forgetting.asking import confirmed, forget
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.rerankers import FIGURE, fitted_reranker

GONE = ("an adapter that is gone",)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log(), reranker=fitted_reranker(FIGURE))
    yield engine
    engine.close()


def status_of(engine: Engine, request_id: str, layer: LayerName) -> Status:
    return next(each.status for each in findings_in(engine.officer.receipt(request_id)) if each.layer is layer)


def hold(engine: Engine) -> None:
    """Put a service on the list that has an adapter in memory that is not on disk."""
    engine.store.beat(present("service", engine.store.epoch() + 1, GONE))


def test_a_training_that_began_after_the_erasure_keeps_its_checkpoints(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact = AdapterStore(engine.settings.compact)
    remove = StoreLayer.remove

    def trains_meanwhile(self: StoreLayer, group: Group) -> None:
        remove(self, group)
        Checkpoints(compact.training, "key").save(Checkpoint(TrainingState(1, 0.5, {}), engine.store.epoch()))

    monkeypatch.setattr(StoreLayer, "remove", trains_meanwhile)
    assert forget(engine.officer, CANARY).state == "complete"
    assert len(list(compact.training.iterdir())) == 1


def test_a_complete_request_stays_complete_whatever_a_service_holds_later(engine: Engine) -> None:
    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    first = engine.officer.forget(request)
    receipt = engine.officer.receipt(first.request_id)
    hold(engine)
    assert engine.officer.forget(request) == replace(first, repeated=True)
    assert engine.officer.receipt(first.request_id) == receipt


def test_a_request_that_waits_for_a_service_to_let_go_is_settled_when_it_has(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr("rag_rec.adapters.layer.wait_for_release", lambda *arguments, **_: waited.append(arguments[2]))
    hold(engine)
    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    outcome = engine.officer.forget(request)
    assert outcome.state == "effective"
    assert status_of(engine, outcome.request_id, LayerName.ADAPTER) is Status.PENDING
    receipt = engine.officer.receipt(outcome.request_id)
    assert engine.officer.saga().settle() == 0
    assert waited == [engine.settings.replica_wait_ms]
    assert engine.officer.forget(request) == replace(outcome, repeated=True)
    assert engine.officer.receipt(outcome.request_id) == receipt
    engine.store.leave("service")
    assert engine.officer.saga().settle() == 1
    assert status_of(engine, outcome.request_id, LayerName.ADAPTER) is Status.PROVEN
    assert engine.officer.saga().settle() == 0
    assert len(waited) == 2  # nothing waits any more


def test_a_receipt_that_would_say_the_same_is_not_issued_again(engine: Engine) -> None:
    steps = [step for step in engine.officer.system().layers if step.name != LayerName.READER]
    request_id = forget(Saga(engine.officer.system(), steps), CANARY).request_id
    receipt = engine.officer.receipt(request_id)
    assert engine.officer.saga().resume() == 0
    assert engine.officer.receipt(request_id) == receipt


def test_a_request_that_fails_keeps_back_none_that_waited(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    hold(engine)
    waiting = forget(engine.officer, CANARY).request_id
    monkeypatch.setattr(StoreLayer, "remove", full)
    with pytest.raises(Unfinished, match="No space left"):
        forget(engine.officer, "user-1")
    failing = next(each.request_id for each in engine.officer.pending() if each.request_id != waiting)
    assert status_of(engine, failing, LayerName.STORE) is Status.PENDING
    receipt = engine.officer.receipt(failing)
    engine.store.leave("service")
    with pytest.raises(OSError, match="No space left"):
        engine.officer.saga().resume()
    assert [each.request_id for each in engine.officer.pending()] == [failing]
    assert status_of(engine, waiting, LayerName.ADAPTER) is Status.PROVEN
    with pytest.raises(OSError, match="No space left"):
        engine.officer.saga().resume()
    assert engine.officer.receipt(failing) != receipt  # the adapter is gone; after that there is nothing new
    assert read_receipt(engine.officer.receipt(failing))["revision"] == 2


class Counting:
    """A store whose calls are counted. If asked, every pending request has a debt."""

    def __init__(self, store: Store, *, indebted: bool) -> None:
        self._store = store
        self._indebted = indebted
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        self.calls[name] += 1
        return getattr(self._store, name)

    def debts(self) -> list[Debt]:
        self.calls["debts"] += 1
        return [Debt(each.request_id, "old") for each in self._store.forget_records(pending=True) if self._indebted]


@pytest.mark.parametrize("indebted", [True, False])
def test_looking_at_what_waits_costs_as_much_for_many_requests_as_for_one(engine: Engine, *, indebted: bool) -> None:
    hold(engine)
    (waiting,) = engine.officer.forget_records(forget(engine.officer, CANARY).request_id)
    assert waiting.state is ForgetState.EFFECTIVE
    costs = []
    for many in (1, 1000):
        copies = [replace(waiting, request_id=f"request-{number}") for number in range(1, many)]
        engine.store.extend_ledger(lambda _, copies=copies: ([], copies))  # type: ignore[misc]
        assert len(engine.officer.pending()) == many
        store = Counting(engine.store, indebted=indebted)
        system = open_system(engine.settings, cast(Store, store), engine.officer.system().pseudonyms)
        store.calls.clear()
        assert Saga(system).resume() == 0
        costs.append(store.calls)
    assert (
        costs[0]
        == costs[1]
        == Counter(["ledger", "forget_records", "debts", *([] if indebted else ["replicas", "places"])])
    )


def test_a_new_revision_says_how_the_reader_is_then(engine: Engine) -> None:
    hold(engine)
    waiting = forget(engine.officer, CANARY).request_id
    assert status_of(engine, waiting, LayerName.READER) is Status.MEASURED
    build(engine.settings)
    assert engine.officer.saga().resume() == 0
    assert status_of(engine, waiting, LayerName.READER) is Status.MEASURED  # nothing else is new
    engine.store.leave("service")
    assert engine.officer.saga().resume() == 1
    assert status_of(engine, waiting, LayerName.READER) is Status.PROVEN


def test_a_proof_after_a_rebuild_says_that_the_reader_was_fitted_anew(engine: Engine) -> None:
    request_id = forget(engine.officer, CANARY).request_id
    engine.officer.saga().add_proof(request_id, {"equal": True})
    assert status_of(engine, request_id, LayerName.READER) is Status.MEASURED
    build(engine.settings)
    engine.officer.saga().add_proof(request_id, {"equal": True})
    assert status_of(engine, request_id, LayerName.READER) is Status.PROVEN
    assert read_receipt(engine.officer.receipt(request_id))["revision"] == 3
    assert engine.officer.forget_records(request_id)[0].state is ForgetState.COMPLETE
