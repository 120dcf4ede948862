"""The service's side: starts the process that carries removals out, orders, and answers its questions."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

import structlog

from rag_rec.engine.removals.messages import Alive, Done, Failure, Message, Order, Question, Reply, receive, send
from rag_rec.engine.removals.worker import run
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.layers.memory import Memory
from rag_rec.settings import Settings

PATIENCE_SECONDS: Final = 10.0
"""A process that was told to end, and has not after so long, is killed. What it left is taken up by the next one."""

SILENCE_SECONDS: Final = 15.0
"""A process of which nothing was heard for so long while it has an order is stuck: it is killed."""

log = structlog.get_logger()


class Lost(Exception):
    """The process ended, or was stuck, while it carried a request out; how far it came is in the store."""


class RemovalProcess:
    """A process that carries out one request after the other. Thread-safe.

    It is started at once, and again with the first request after it was lost.

    Args:
        settings: of the system.
        begin: called in it first, to set up what a process has one of. It must be a function of a module.
    """

    def __init__(self, settings: Settings, begin: Callable[[], None]) -> None:
        self._settings = settings
        self._begin = begin
        self._turn = threading.Lock()
        self._running: tuple[BaseProcess, Connection] | None = None
        self._start()

    def forget(self, request: ForgetRequest, memory: Memory, replica: str | None) -> ForgetOutcome:
        """Carry out a request, as :meth:`rag_rec.forgetting.saga.Saga.forget` does.

        Args:
            request: what to do.
            memory: the state of this process.
            replica: the id of this process among the live replicas, if it is one.

        Raises:
            Lost: the process is not there, ended, or fell silent; the request may be accepted or not.
        """
        with self._turn:
            try:
                _, connection = self._running or self._start()
                send(connection, Order(request, replica))
                return _outcome(connection, memory)
            except TimeoutError:
                self._end(stuck=True)
                raise Lost from None
            except (EOFError, OSError):
                self._end()
                raise Lost from None

    def close(self) -> None:
        """End the process once what is under way is done."""
        with self._turn:
            self._end()

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")  # a fork would copy locks that other threads hold
        ours, theirs = context.Pipe()
        process = context.Process(target=run, args=(theirs, self._settings, self._begin), name="removals", daemon=True)
        process.start()
        theirs.close()  # so that its end is noticed
        self._running = process, ours
        return self._running

    def _end(self, *, stuck: bool = False) -> None:
        if self._running is None:
            return
        process, connection = self._running
        self._running = None
        connection.close()
        process.join(0.0 if stuck else PATIENCE_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
        log.info("removal_process_ended", code=process.exitcode)
        process.close()


def _outcome(connection: Connection, memory: Memory) -> ForgetOutcome:
    """What became of the order, after the questions in between have been answered. ``TimeoutError`` after silence."""
    while True:
        if not connection.poll(SILENCE_SECONDS):
            raise TimeoutError
        message = receive(connection)
        if isinstance(message, Alive):
            continue
        if isinstance(message, Question):
            send(connection, _reply(message, memory))
        elif isinstance(message, Failure):
            raise message.raised()
        else:
            assert isinstance(message, Done)  # noqa: S101 - both sides are ours
            return message.outcome


def _reply(question: Question, memory: Memory) -> Message:
    try:
        value: Any = getattr(memory, question.method)
        if callable(value):
            value = value(*question.arguments)
    except Exception as error:  # it is raised again where it was asked
        return Failure.of(error)
    return Reply(value)
