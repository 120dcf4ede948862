"""A service whose removals run in a process of their own, where that process or the service itself is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

import structlog
from structlog.testing import capture_logs

from benchmarks.methods.children import die
from benchmarks.methods.crash_cases import Case, Expected
from benchmarks.methods.crash_examination import Examination, examine_living, quoted
from benchmarks.methods.interruptions import Point, stopped_at
from rag_rec.engine.engine import Engine
from rag_rec.engine.removals.process import Lost, RemovalProcess
from rag_rec.errors import ConfirmationRequired
from rag_rec.forgetting.request import ForgetOutcome, ForgetRequest
from rag_rec.home.opening import store_of
from rag_rec.layers.memory import Memory
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.rag_rec.forgetting.asking import confirmed

LIFETIME_SECONDS: Final = 100
"""A removal process that does not end by itself is ended after so long, so that none survives a benchmark."""

_for_good: Final = ExitStack()
"""Keeps what a removal process has replaced as it is."""


@dataclass
class Ending:
    """What a removal process begins with: it prepares an end, at a point or not at all.

    Attributes:
        point: of the removal.
        of_service: whether the service is killed there instead of the removal process.
        held: is kept open as long as the process lives.
    """

    point: Point | None = None
    of_service: bool = False
    held: Connection | None = None

    def __call__(self) -> None:
        """Prepare it, in the removal process."""
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # a result goes to the other
        signal.alarm(LIFETIME_SECONDS)
        if self.point is not None:
            stop = partial(_kill_parent, os.getppid()) if self.of_service else die
            _for_good.enter_context(stopped_at(self.point, stop))


class WatchedRemovals(RemovalProcess):
    """Notes of each order with which the process was lost whether the request had been accepted by then."""

    def __init__(self, settings: Settings, ending: Ending) -> None:
        super().__init__(settings, ending)
        self.lost: list[bool] = []

    def forget(self, request: ForgetRequest, memory: Memory, replica: str | None) -> ForgetOutcome:
        """See :meth:`RemovalProcess.forget`."""
        try:
            return super().forget(request, memory, replica)
        except Lost:
            store = store_of(self._settings)
            self.lost.append(bool(store.forget_records(plan=request.plan)))
            store.close()
            raise


def serve_until_killed(settings: Settings, case: Case, ending: Ending, ready: Connection) -> None:
    """Be a service that is killed while its removal process is at work. Says when the work begins."""
    ending.held = ready
    with capture_logs(), _service(settings, WatchedRemovals(settings, ending)) as engine:
        _wait_until_ready(engine, case)
        request = confirmed(engine.officer, case.request)
        ready.send_bytes(b"starts")
        engine.officer.forget(request)


def seconds_of(settings: Settings, case: Case) -> float:
    """How long a service takes for a case with a removal process that is ready."""
    with capture_logs(), _service(settings, WatchedRemovals(settings, Ending())) as engine:
        _wait_until_ready(engine, case)
        request = confirmed(engine.officer, case.request)
        started = time.perf_counter()
        engine.officer.forget(request)
        return time.perf_counter() - started


def outlive(
    settings: Settings, case: Case, expected: Expected, point: Point | None, delay: float
) -> tuple[int, Examination]:
    """Forget in a service whose removal process is killed, at a point or after a delay, and look at that service.

    Returns:
        How many processes were killed, and what was wrong; nothing was looked at where none was.
    """
    ending = Ending(point)
    removals = WatchedRemovals(settings, ending)
    with capture_logs() as logs, _service(settings, removals) as engine:
        _wait_until_ready(engine, case)
        with _killed_after(None if point else delay):
            outcome = engine.officer.forget(quoted(case, expected))
        kills = _killed_in(logs)
        ending.point = None
        found = examine_living(engine, case, expected, outcome) if kills else Examination()
        found.accepted = any(removals.lost)
        if len(removals.lost) != kills or removal_process() is None:
            found.incomplete.append("no removal process works in place of the one that was killed")
    if multiprocessing.active_children():
        found.incomplete.append("a process is left of a service that has ended")
    return kills, found


def removal_process() -> BaseProcess | None:
    """The removal process of this process, while it lives."""
    return next((each for each in multiprocessing.active_children() if each.name == "removals"), None)


@contextmanager
def _service(settings: Settings, removals: RemovalProcess) -> Iterator[Engine]:
    engine = Engine.open(settings, embedder=HashEmbedder(), removals=removals)
    engine.attendance.join()
    try:
        yield engine
    finally:
        engine.close()


def _wait_until_ready(engine: Engine, case: Case) -> None:
    """Wait until the removal process has refused something: then it has loaded all it needs."""
    with suppress(ConfirmationRequired):
        engine.officer.forget(case.request)


@contextmanager
def _killed_after(delay: float | None) -> Iterator[None]:
    process = removal_process()
    if delay is None or process is None:
        yield
        return
    timer = threading.Timer(delay, process.kill)
    timer.start()
    yield
    timer.cancel()
    timer.join()


def _killed_in(logs: Sequence[Mapping[str, Any]]) -> int:
    """How many removal processes were killed, as the service's log has it."""
    return [each["code"] for each in logs if each["event"] == "removal_process_ended"].count(-signal.SIGKILL)


def _kill_parent(parent: int) -> None:
    """Kill the process that started this one, and return when it is no more."""
    os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent:
        time.sleep(0.001)
