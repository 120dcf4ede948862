"""A service follows removals whatever else is going on, and answers nobody while its lease is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from filelock import FileLock

from rag_rec.clock import now_ms
from rag_rec.domain import RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.errors import Busy, NotReady
from rag_rec.forgetting.turn import LOCK
from rag_rec.presence import replicas
from rag_rec.presence.replicas import EXPIRY_MS, LEASE_MS, lagging
from rag_rec.store.records import Replica
from tests.homes import engine_of, running, settings_for
from tests.rag_rec.forgetting.asking import forget, forget_in
from tests.rag_rec.forgetting.homes import CANARY, log

ASK = RecommendationRequest(CANARY, k=3)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log(), replica_wait_ms=0)
    engine.attendance.join()
    yield engine
    engine.close()


def said(engine: Engine) -> Replica:
    (replica,) = engine.store.replicas()
    return replica


def let_pass(monkeypatch: pytest.MonkeyPatch, milliseconds: int) -> None:
    """Nothing is heard of this process for a while, as where it was stopped."""
    uptime, now = replicas.uptime_ms, now_ms
    monkeypatch.setattr(replicas, "uptime_ms", lambda: uptime() + milliseconds)
    monkeypatch.setattr(replicas, "now_ms", lambda: now() + milliseconds)


def test_a_removal_elsewhere_is_followed_and_said_while_another_process_carries_it_out(engine: Engine) -> None:
    assert not engine.attendance.attend()
    with FileLock(engine.settings.home / LOCK):  # it waits for this service's word
        forget_in_store(engine)
        assert engine.attendance.attend()
        assert said(engine).epoch == engine.store.erasure_epoch()
        engine.refresh()  # it gives up at once
    assert not engine.attendance.attend()


def test_a_removal_is_followed_while_one_is_carried_out_in_this_process(engine: Engine) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with engine.officer.saga().turn.taken():
            held.set()
            done.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        forget_in_store(engine)
        assert engine.attendance.attend()
        assert said(engine).epoch == engine.store.erasure_epoch()
        engine.refresh()
        assert engine.officer.saga().resume() == 0
    finally:
        done.set()
        thread.join()
    engine.refresh()
    assert engine.officer.pending() == []


def test_what_is_not_finished_is_not_waited_for_but_a_new_request_waits_its_turn(engine: Engine) -> None:
    forget_in_store(engine)
    with FileLock(engine.settings.home / LOCK):
        saga = engine.officer.saga()
        saga.turn._processes.timeout = 0.01
        assert saga.resume() == 0
        with pytest.raises(Busy):
            forget(saga, "user-1")
    assert engine.officer.saga().resume() == 1


def test_an_answer_is_made_again_when_the_lease_was_over(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine.attendance.term == 1
    let_pass(monkeypatch, LEASE_MS)
    assert engine.attendance.term is None
    assert engine.recommend(ASK).provenance.known_user
    assert engine.attendance.term == 2


def test_one_that_was_given_up_follows_first_and_joins_as_another(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = said(engine).id
    let_pass(monkeypatch, EXPIRY_MS + 1)
    forget_in_store(engine)
    assert lagging(engine.store, engine.store.erasure_epoch(), None) == []  # nobody waits for it
    assert engine.store.replicas() == []
    assert not engine.recommend(ASK).provenance.known_user
    assert said(engine).id != before
    assert said(engine).epoch >= engine.store.erasure_epoch()
    assert engine.attendance.term == 2


def test_nothing_is_answered_where_the_store_does_not_take_the_sign_of_life(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_pass(monkeypatch, LEASE_MS)
    with monkeypatch.context() as patched:
        patched.setattr(engine.attendance, "attend", lambda: False)  # another thread is at it, and is not done
        with pytest.raises(NotReady):
            engine.recommend(ASK)
    assert engine.attendance.attend()
    assert engine.recommend(ASK).items


def test_an_engine_that_never_joined_has_no_lease_to_lose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running(tmp_path / "home", log()).close()
    engine = engine_of(settings_for(tmp_path / "home"))
    let_pass(monkeypatch, EXPIRY_MS)
    assert engine.recommend(ASK).items
    engine.close()


def forget_in_store(engine: Engine) -> None:
    """Accept a removal as another process does, which is killed then."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rag_rec.forgetting.saga.Saga._carry_out", lambda _self, records, *_: records)
        patched.setattr("rag_rec.forgetting.turn.Turn.taken", lambda _: nullcontext())  # of another folder
        forget_in(engine.settings, CANARY)
