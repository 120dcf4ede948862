"""The loop of the process that carries removals out, run here in a thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rag_rec.engine.engine import Engine
from rag_rec.engine.removals.messages import Alive, Done, Failure, Order, Question, Reply, receive, send
from rag_rec.engine.removals.process import _reply
from rag_rec.engine.removals.worker import NICENESS, RemoteMemory, _Line, run, work
from rag_rec.errors import NotReady, RagRecError
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.home.opening import store_of
from rag_rec.layers.records import ForgetState
from rag_rec.settings import Settings
from tests.homes import running, settings_for
from tests.rag_rec.forgetting.asking import confirmed
from tests.rag_rec.forgetting.homes import CANARY, log, number_of

PATIENCE = 60.0


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


@contextmanager
def working(settings: Settings) -> Iterator[tuple[Connection, Future[None]]]:
    """The service's end of a worker that runs in a thread."""
    ours, theirs = Pipe()
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(work, theirs, settings)
        yield ours, done
        ours.close()
        done.result(PATIENCE)
    theirs.close()


def test_an_order_is_carried_out_by_questions_to_the_memory(engine: Engine) -> None:
    asked = []
    with working(engine.settings) as (connection, _):
        send(connection, Order(confirmed(engine.officer, ForgetRequest.of(CANARY)), None))
        while isinstance(message := receive(connection), Question):
            asked.append(message.method)
            send(connection, _reply(message, engine.live))
        assert isinstance(message, Done)
        assert message.outcome.state == ForgetState.COMPLETE
    assert asked[:2] == ["prepare", "follow"]
    assert set(asked[2:]) >= {"epoch", "sound", "agrees", "holds"}


def test_it_says_now_and_then_that_it_is_at_work(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag_rec.engine.removals.worker.BEAT_SECONDS", 0.01)
    with working(engine.settings) as (connection, _):
        send(connection, Order(confirmed(engine.officer, ForgetRequest.of(CANARY)), None))
        message = receive(connection)
        while not isinstance(message, Alive):  # its first question waits for an answer meanwhile
            message = receive(connection)
        send(connection, Failure("NotReady", "Not now."))
        while isinstance(message, Alive | Question):
            message = receive(connection)
        assert message == Failure("NotReady", "Not now.")


def test_it_goes_on_after_an_error(engine: Engine) -> None:
    with working(engine.settings) as (connection, done):
        for _ in range(2):
            send(connection, Order(ForgetRequest.of(CANARY), None))
            failure = receive(connection)
            assert isinstance(failure, Failure)
            assert failure.error == "ConfirmationRequired"
        assert not done.done()


def test_an_error_that_nobody_expected_is_logged_by_its_kind_alone(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(CANARY)

    monkeypatch.setattr(Saga, "forget", fail)
    with capture_logs() as logs, working(engine.settings) as (connection, _):
        send(connection, Order(ForgetRequest.of(CANARY), None))
        assert receive(connection) == Failure("ValueError", "")
    assert logs == [{"event": "removal_failed", "kind": "ValueError", "log_level": "error"}]


def test_a_service_that_ends_before_acceptance_has_asked_for_nothing(engine: Engine) -> None:
    with working(engine.settings) as (connection, done):
        send(connection, Order(confirmed(engine.officer, ForgetRequest.of(CANARY)), None))
        question = receive(connection)
        assert isinstance(question, Question)
        assert question.method == "prepare"
        connection.close()
        done.result(PATIENCE)
    assert engine.store.user(CANARY) is not None


def test_a_service_that_ends_after_acceptance_leaves_a_removal_in_force(engine: Engine) -> None:
    with working(engine.settings) as (connection, done):
        send(connection, Order(confirmed(engine.officer, ForgetRequest.of(CANARY)), None))
        assert isinstance(receive(connection), Question)
        send(connection, Reply(None))
        question = receive(connection)
        assert isinstance(question, Question)
        assert question.method == "follow"
        connection.close()
        done.result(PATIENCE)
    assert engine.store.user(CANARY) is None
    engine.refresh()
    assert engine.officer.pending() == []


def test_a_remote_memory_answers_as_the_memory_does(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = Pipe()
    number = number_of(engine.store, CANARY)
    gone = engine.live.people.history(number)["interaction"][:2].tolist()

    def answer() -> None:
        while isinstance(message := receive(ours), Question):
            send(ours, _reply(message, engine.live))

    with ThreadPoolExecutor(1) as thread, ExitStack() as stack:
        stack.callback(send, theirs, Reply(None))  # ends the thread, whatever fails
        thread.submit(answer)
        memory = RemoteMemory(_Line(theirs))
        assert memory.epoch == engine.live.epoch
        assert memory.reach(number, gone) == engine.live.reach(number, gone)
        memory.prepare(number, gone)
        memory.discard()
        memory.follow()
        assert memory.sound()
        assert memory.agrees(number)
        assert memory.holds(number)
        assert not memory.holds(10**6)
        with monkeypatch.context() as patched, pytest.raises(RagRecError, match="unexpected error"):
            patched.setattr(engine.current, "live", None)  # an error that is none of ours
            memory.agrees(number)
    ours.close()
    with pytest.raises(NotReady, match="The service ended"):
        memory.follow()
    theirs.close()


def test_a_process_is_patient_and_leaves_interrupts_to_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = Pipe()
    ours.close()
    began: list[str] = []
    signals: dict[int, object] = {}
    monkeypatch.setattr(signal, "signal", signals.__setitem__)
    monkeypatch.setattr(os, "nice", lambda by: began.append(f"nice {by}"))
    run(theirs, settings_for(tmp_path / "home"), lambda: began.append("begun"))
    assert began == [f"nice {NICENESS}", "begun"]
    assert signals == {signal.SIGINT: signal.SIG_IGN}
    assert theirs.closed


def test_nothing_is_opened_before_the_first_order(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    with working(settings):
        pass
    assert not settings.home.exists()
    store_of(settings).close()
