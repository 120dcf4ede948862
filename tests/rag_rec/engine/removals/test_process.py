"""Removals in a process of their own: the same outcome, and nothing is lost when that process ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import pytest

from rag_rec.domain import RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.engine.removals.messages import Alive, Done, send
from rag_rec.engine.removals.process import Lost, RemovalProcess, _outcome
from rag_rec.errors import ConfirmationRequired, LegalHold, NotReady, PlanChanged, RagRecError, UnknownUser
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.index.serving_state import ServingState
from rag_rec.layers.finding import LayerName
from rag_rec.layers.memory import Memory
from rag_rec.layers.records import ForgetState
from rag_rec.store.records import Selection
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.rag_rec.forgetting.asking import confirmed, forget, forget_all
from tests.rag_rec.forgetting.homes import CANARY, log


def begin() -> None:
    """What the process begins with: nothing."""


def begin_and_end() -> None:
    """A process that ends at once."""
    sys.exit(3)


def engine_with(home: Path, removals: RemovalProcess) -> Engine:
    return Engine.open(settings_for(home), embedder=HashEmbedder(), removals=removals)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    build(settings)
    engine = engine_with(settings.home, RemovalProcess(settings, begin))
    engine.attendance.join()
    yield engine
    engine.close()


def process_of(engine: Engine) -> BaseProcess:
    removals = engine.officer._removals
    assert removals is not None
    assert removals._running is not None
    return removals._running[0]


def kill(engine: Engine) -> None:
    process = process_of(engine)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


class Recorder:
    """Notes which methods of the live state are called, and by a call of which one the process is to be killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, engine: Engine, fatal: str = "") -> None:
        self.called: list[str] = []
        for name in ("prepare", "follow", "sound", "agrees", "holds"):
            monkeypatch.setattr(ServingState, name, self._noting(name, getattr(ServingState, name), engine, fatal))

    def _noting(self, name: str, original: Any, engine: Engine, fatal: str) -> Any:
        def method(*arguments: Any) -> Any:
            if name == fatal and name not in self.called and process_of(engine).is_alive():
                kill(engine)
            self.called.append(name)
            return original(*arguments)

        return method


def test_people_and_parts_of_people_are_forgotten_there(engine: Engine) -> None:
    part = forget(engine.officer, CANARY, Selection(item_ids=frozenset({ITEMS[1].id})))
    whole = forget(engine.officer, CANARY)
    batch = forget_all(engine.officer, "user-0", "user-1")
    assert (part.removed["interactions"], whole.removed["interactions"], batch.removed["users"]) == (1, 5, 2)
    for outcome in (part, whole, batch):
        assert outcome.state == ForgetState.COMPLETE
        assert not outcome.repeated
        assert set(outcome.timings_ms) >= {"accept", *LayerName}
    assert engine.officer.prove(batch.requests[0])["equal"]
    assert process_of(engine).is_alive()


def test_the_memory_that_answers_is_asked_and_follows(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch, engine)
    forget(engine.officer, CANARY)
    assert {"prepare", "follow", "sound", "agrees", "holds"} <= set(recorder.called)
    assert not engine.recommend(RecommendationRequest(CANARY, k=3)).provenance.known_user


def test_a_repeated_command_gives_the_same_receipt(engine: Engine) -> None:
    command = confirmed(engine.officer, ForgetRequest.of(CANARY))
    first = engine.officer.forget(command)
    receipt = engine.officer.receipt(first.request_id)
    again = engine.officer.forget(command)
    assert again.repeated
    assert again.request_id == first.request_id
    assert engine.officer.receipt(first.request_id) == receipt


def test_errors_are_the_same(engine: Engine) -> None:
    plan = engine.officer.plan(ForgetRequest.of(CANARY)).plan
    with pytest.raises(ConfirmationRequired, match="ask for a dry run"):
        engine.officer.forget(ForgetRequest.of(CANARY))
    with pytest.raises(UnknownUser, match="no user with this id"):
        engine.officer.forget(ForgetRequest.of("nobody", None, "nobody", plan))
    with pytest.raises(PlanChanged, match="ask for a dry run"):
        engine.officer.forget(ForgetRequest.of("user-0", None, "user-0", plan))
    engine.officer.hold(CANARY, "a court case")
    with pytest.raises(LegalHold, match="a court case"):
        engine.officer.forget(ForgetRequest.of(CANARY, None, CANARY, plan))
    assert engine.store.user(CANARY) is not None
    assert engine.officer.pending() == []


def test_an_error_that_nobody_expected_is_told_without_its_text(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(CANARY)

    command = confirmed(engine.officer, ForgetRequest.of(CANARY))
    monkeypatch.setattr(ServingState, "prepare", fail)
    with pytest.raises(RagRecError, match="unexpected error") as caught:
        engine.officer.forget(command)
    assert CANARY not in str(caught.value)
    monkeypatch.undo()
    assert engine.officer.forget(command).state == ForgetState.COMPLETE


@pytest.mark.parametrize("fatal", ["prepare", "follow", "sound", "agrees", "holds"])
def test_whenever_it_is_killed_the_removal_is_finished_here(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, fatal: str
) -> None:
    Recorder(monkeypatch, engine, fatal)
    outcome = forget(engine.officer, CANARY)
    assert outcome.state == ForgetState.COMPLETE
    assert not outcome.repeated
    assert len(engine.store.forget_records()) == 1
    assert engine.store.user(CANARY) is None
    assert engine.officer.prove(outcome.request_id)["equal"]


def test_signs_of_life_are_no_outcome(engine: Engine) -> None:
    done = Done(forget(engine.officer, CANARY))
    ours, theirs = Pipe()
    with ours, theirs:
        for message in (Alive(), Alive(), done):
            send(theirs, message)
        assert _outcome(ours, engine.live) == done.outcome


def test_one_that_falls_silent_is_done_without(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    process = process_of(engine)
    pid = process.pid
    assert pid is not None
    monkeypatch.setattr("rag_rec.engine.removals.process.SILENCE_SECONDS", 0.5)
    os.kill(pid, signal.SIGSTOP)
    assert forget(engine.officer, CANARY).state == ForgetState.COMPLETE
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_was_killed_is_started_again(engine: Engine) -> None:
    killed = process_of(engine)
    kill(engine)
    forget(engine.officer, CANARY)
    assert engine.officer._removals is not None
    assert engine.officer._removals._running is None
    forget(engine.officer, "user-0")
    assert process_of(engine) is not killed
    assert process_of(engine).is_alive()


def test_one_that_does_not_start_is_done_without(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    build(settings)
    engine = engine_with(settings.home, RemovalProcess(settings, begin_and_end))
    try:
        assert forget(engine.officer, CANARY).state == ForgetState.COMPLETE
        assert forget(engine.officer, "user-0").state == ForgetState.COMPLETE
    finally:
        engine.close()


def test_it_ends_with_the_engine(tmp_path: Path) -> None:
    removals = RemovalProcess(settings_for(tmp_path / "home"), begin)
    running = removals._running
    assert running is not None
    pid = running[0].pid
    assert pid is not None
    removals.close()
    removals.close()  # once more does nothing
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removals = RemovalProcess(settings_for(tmp_path / "home"), begin)
    running = removals._running
    assert running is not None
    process = running[0]
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    monkeypatch.setattr("rag_rec.engine.removals.process.PATIENCE_SECONDS", 0.1)
    pid = process.pid
    removals.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_who_asks_is_told_that_it_was_lost(tmp_path: Path) -> None:
    removals = RemovalProcess(settings_for(tmp_path / "home"), begin_and_end)
    memory = cast(Memory, None)  # nothing is asked of it
    with pytest.raises(Lost):
        removals.forget(ForgetRequest.of(CANARY, None, CANARY, "plan"), memory, None)
    removals.close()


def test_a_memory_that_cannot_follow_leaves_the_removal_in_force(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: ServingState) -> None:
        raise NotReady("It is not there.")

    command = confirmed(engine.officer, ForgetRequest.of(CANARY))
    with monkeypatch.context() as patched:
        patched.setattr(ServingState, "follow", fail)
        with pytest.raises(RagRecError, match=r"The request is in force.*It is not there"):
            engine.officer.forget(command)
        assert engine.store.user(CANARY) is None
    engine.refresh()
    assert engine.officer.pending() == []
