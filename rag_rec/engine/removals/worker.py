"""The process that carries removals out: its loop, and the memory of the service as seen from here."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Final

import structlog

from rag_rec.engine.removals.messages import (
    Alive,
    Done,
    Failure,
    Message,
    Method,
    Order,
    Question,
    Reply,
    receive,
    send,
)
from rag_rec.engine.system import open_system
from rag_rec.errors import NotReady, RagRecError
from rag_rec.forgetting.request import ForgetOutcome
from rag_rec.forgetting.saga import Saga
from rag_rec.home.keys import existing_pseudonyms
from rag_rec.home.opening import existing_store_of
from rag_rec.presence.processes import enter, leave
from rag_rec.presence.remnants import QUIET_SECONDS, Remnants, settle_in
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import ServiceProcess

log = structlog.get_logger()

NICENESS: Final = 5
"""Where a processor is short, answers go first: a removal gets a third of their share."""

BEAT_SECONDS: Final = 2.0
"""How often a process says that it is at work."""


def run(connection: Connection, settings: Settings, begin: Callable[[], None]) -> None:
    """Carry out what is ordered until the service has gone. Entry of the process.

    Args:
        connection: to the service.
        settings: of the system.
        begin: called first, to set up what a process has one of, such as its log.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the service waits for what is under way
    os.nice(NICENESS)
    begin()
    with connection:
        work(connection, settings)


def work(connection: Connection, settings: Settings) -> None:
    """Carry out what is ordered until the other side has gone."""
    store: Store | None = None
    remnants: Remnants | None = None
    process: ServiceProcess | None = None
    line = _Line(connection)
    try:
        while True:
            while remnants is not None and remnants.waits and not connection.poll(QUIET_SECONDS):
                _let_go(remnants)
            order = receive(connection)
            assert isinstance(order, Order)  # noqa: S101 - both sides are ours
            try:
                with _beating(line):
                    if store is None:
                        store = existing_store_of(settings)
                        process = enter(store)
                        settle_in()
                        remnants = Remnants(store) if settings.overwrite_freed else None
                    answer: Message = Done(_carry_out(order, settings, store, RemoteMemory(line)))
            except RagRecError as error:
                answer = Failure.of(error)
            except Exception as error:  # whatever it is: the service hears that there was one, and work goes on
                log.error("removal_failed", kind=type(error).__name__)
                answer = Failure.of(error)
            line.send(answer)
            del order, answer  # they name people, and the next order may be long in coming
            if remnants is not None:
                _let_go(remnants)
    except (EOFError, OSError):
        return
    finally:
        if store is not None:
            if process is not None:
                with suppress(RagRecError):
                    leave(store, process)
            store.close()


def _let_go(remnants: Remnants) -> None:
    with suppress(RagRecError):  # a store that is away keeps back no order
        remnants.let_go_of_removed()


class _Line:
    """The connection, for the two threads that send: the one that works, and the one that says so."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()

    def send(self, message: Message) -> None:
        with self._turn:
            send(self._connection, message)

    def receive(self) -> Message:
        return receive(self._connection)


@contextmanager
def _beating(line: _Line) -> Iterator[None]:
    """Say now and then that the process is at work: one that was stopped, or cannot run, falls silent."""
    ended = threading.Event()

    def beat() -> None:
        with suppress(OSError):
            while not ended.wait(BEAT_SECONDS):
                line.send(Alive())

    thread = threading.Thread(target=beat, name="beat")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class RemoteMemory:
    """The memory of the service: every method is a question to it. Implements :class:`Memory`."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    @property
    def epoch(self) -> int:
        """The store's epoch that it has reached."""
        return int(self._ask("epoch"))

    def reach(self, user: int, interactions: Sequence[int]) -> Mapping[str, int]:
        """What would go, or be made anew, with these interactions of a user: counts by what a plan calls them."""
        return dict(self._ask("reach", user, list(interactions)))

    def prepare(self, user: int, gone: Sequence[int] | None = None) -> None:
        """Compute ahead what a coming removal does."""
        self._ask("prepare", user, None if gone is None else list(gone))

    def discard(self) -> None:
        """Free what was prepared for a removal that did not come."""
        self._ask("discard")

    def follow(self) -> None:
        """Bring everything up to the store's epoch."""
        self._ask("follow")

    def sound(self) -> bool:
        """Whether all parts add up to the same people and interactions."""
        return bool(self._ask("sound"))

    def agrees(self, user: int) -> bool:
        """Whether it has of a user exactly what the store has at present."""
        return bool(self._ask("agrees", user))

    def holds(self, user: int) -> bool:
        """Whether it has anything of a user."""
        return bool(self._ask("holds", user))

    def _ask(self, method: Method, *arguments: Any) -> Any:
        try:
            self._line.send(Question(method, list(arguments)))
            reply = self._line.receive()
        except (EOFError, OSError):
            raise NotReady("The service ended while it was asked.") from None
        if isinstance(reply, Failure):
            raise reply.raised()
        assert isinstance(reply, Reply)  # noqa: S101 - both sides are ours
        return reply.value


def _carry_out(order: Order, settings: Settings, store: Store, memory: RemoteMemory) -> ForgetOutcome:
    system = open_system(settings, store, existing_pseudonyms(settings), memory, order.replica)
    return Saga(system).forget(order.request)
