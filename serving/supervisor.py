"""Keeps several service processes running on one listening socket, and replaces them one at a time.

Each worker is a whole service: a replica with a memory of its own, on the same data folder. The supervisor binds the
socket once and holds nothing of people. A worker that ends is started again, later with each failure in a row. On
SIGHUP, and when they are old enough, workers are replaced: the new one is ready before the old one is told to end. On
SIGTERM or SIGINT all of them end in order.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Final, Protocol

from rag_rec.errors import RagRecError
from serving.logs import Log

RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 30.0
SOUND_SECONDS: Final = 60.0
"""A worker that could answer for so long was sound: when it ends, the next one is started at once."""
PATIENCE_SECONDS: Final = 60.0
"""A worker that was told to end, and has not after so long, is killed."""
LOOK_SECONDS: Final = 5.0
"""How often the supervisor looks at the time."""


class Worker(Protocol):
    """A process that serves."""

    number: int
    pid: int

    def end(self) -> None:
        """Tell it to end in order."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker can answer."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker is no more. ``status`` as of :class:`subprocess.Popen`."""

    worker: Worker
    status: int


@dataclass(frozen=True, slots=True)
class Order:
    """What the operator wants: ``end`` of all, or else a replacement of all."""

    end: bool


Event = Ready | Ended | Order
Start = Callable[[int, bool, Callable[[Event], None]], Worker]
"""Starts a worker: its number, whether it takes connections before it is ready, and where it tells what happens."""


@dataclass
class Place:
    """One of the places for a worker: who works there, who is to take over, and what failed.

    Attributes:
        number: of the place, from 1 on.
        worker: who answers, or is being started; None between a failure and the next attempt.
        next: who takes over as soon as it is ready.
        since: when ``worker`` was ready.
        failures: in a row.
        retry: when the next attempt is due, where one is.
        stale: whether the worker is to be replaced.
    """

    number: int
    worker: Worker | None = None
    next: Worker | None = None
    since: float | None = None
    failures: int = 0
    retry: float | None = 0.0
    stale: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a worker was started again after it had failed, and how often one was replaced."""

    restarts: int
    replaced: int


class Supervisor:
    """Runs the workers.

    Args:
        start: starts one.
        count: how many.
        log: where it tells what it does.
        recycle_seconds: how old a worker may become; None is as old as it likes.
        clock: seconds, never backwards.
    """

    def __init__(
        self,
        start: Start,
        count: int,
        log: Log,
        recycle_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start_worker = start
        self._log = log
        self._recycle_seconds = recycle_seconds
        self._clock = clock
        self._places = [Place(number) for number in range(1, count + 1)]
        self._leaving: dict[int, tuple[Worker, float]] = {}
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._ending = False
        self._ever_ready = False
        self._restarts = 0
        self._replaced = 0

    def run(self) -> Tally:
        """Keep the workers running until SIGTERM or SIGINT, in the main thread.

        Raises:
            RagRecError: the first workers ended before one of them could answer.
        """
        with self._listening_to_signals():
            while not self.step(self._next_event()):
                pass
        if not self._ever_ready and self._restarts:
            raise RagRecError("No worker could start; see the messages above.")
        return Tally(self._restarts if self._ever_ready else 0, self._replaced)

    def step(self, event: Event | None) -> bool:
        """Take note of what happened, and do what is due. Returns whether all is over."""
        match event:
            case Ready(worker):
                self._note_ready(worker)
            case Ended(worker, status):
                self._note_end(worker, status)
            case Order(end):
                self._note_order(end)
            case None:
                pass
        self._kill_late()
        if self._ending:
            return not self._leaving
        self._start_due()
        self._go_on_replacing()
        return False

    def _next_event(self) -> Event | None:
        try:
            return self._events.get(timeout=self._seconds_to_wait())
        except Empty:
            return None

    def _seconds_to_wait(self) -> float:
        due = [place.retry - self._clock() for place in self._places if place.retry is not None]
        return max(0.0, min([LOOK_SECONDS, *due]))

    def _note_ready(self, worker: Worker) -> None:
        place = self._place_of(worker)
        if place is None:  # told to end meanwhile
            return
        self._ever_ready = True
        if worker is place.next:
            if place.worker is not None:
                self._let_go(place.worker)
            place.worker, place.next = worker, None
            self._replaced += 1
        place.since = self._clock()
        self._log.info("worker_ready", worker=worker.number, pid=worker.pid)

    def _note_end(self, worker: Worker, status: int) -> None:
        asked = self._leaving.pop(worker.pid, None)
        (self._log.info if asked else self._log.error)(
            "worker_ended", worker=worker.number, pid=worker.pid, status=status, asked=asked is not None
        )
        place = self._place_of(worker)
        if place is None:
            return
        self._restarts += 1
        if worker is not place.next and place.next is not None:  # the successor is on its way already
            place.worker, place.next, place.since = place.next, None, None
            return
        sound = worker is place.worker and self._is_sound(place)
        if worker is place.next:
            place.next = None
        else:
            place.worker = place.since = None
        place.failures = 0 if sound else place.failures + 1
        place.retry = self._clock() + _delay(place.failures)
        if not self._ever_ready and status > 0:  # it says itself that it cannot: a setting, or no index
            self._note_order(end=True)

    def _is_sound(self, place: Place) -> bool:
        return place.since is not None and self._clock() - place.since >= SOUND_SECONDS

    def _note_order(self, end: bool) -> None:
        if not end:
            for place in self._places:
                place.stale = True
            return
        self._ending = True
        for place in self._places:
            for worker in (place.worker, place.next):
                if worker is not None:
                    self._let_go(worker)
            place.worker = place.next = None

    def _start_due(self) -> None:
        for place in self._places:
            if place.retry is None or place.retry > self._clock():
                continue
            place.retry = None
            if place.worker is None:
                # The first one says that the service is alive while no worker can answer; others would give callers an
                # error that a ready one has no need to give.
                place.worker = self._start(place, early=place.number == 1 and not self._ever_ready)
            else:
                place.stale = True  # its replacement has failed

    def _go_on_replacing(self) -> None:
        """Begin the next replacement, if none is under way."""
        for place in self._places:
            age = 0.0 if place.since is None else self._clock() - place.since
            if place.next is None and self._recycle_seconds is not None and age >= self._recycle_seconds:
                place.stale = True
        if self._leaving or any(place.next is not None for place in self._places):
            return
        for place in self._places:
            if place.stale and place.since is not None and place.retry is None:
                place.stale = False  # an order that comes while it starts means it, too
                place.next = self._start(place, early=False)
                return

    def _start(self, place: Place, *, early: bool) -> Worker:
        worker = self._start_worker(place.number, early, self._events.put)
        self._log.info("worker_started", worker=worker.number, pid=worker.pid)
        return worker

    def _let_go(self, worker: Worker) -> None:
        self._leaving[worker.pid] = worker, self._clock() + PATIENCE_SECONDS
        worker.end()

    def _kill_late(self) -> None:
        for worker, until in self._leaving.values():
            if until < self._clock():
                worker.kill()

    def _place_of(self, worker: Worker) -> Place | None:
        return next((place for place in self._places if worker in (place.worker, place.next)), None)

    @contextmanager
    def _listening_to_signals(self) -> Iterator[None]:
        def order(number: int, _: FrameType | None) -> None:
            self._events.put(Order(end=number != signal.SIGHUP))

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        previous = {number: signal.signal(number, order) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _delay(failures: int) -> float:
    """Seconds until the next attempt after so many failures in a row."""
    return 0.0 if not failures else min(LONGEST_RETRY_SECONDS, RETRY_SECONDS * 2.0 ** (failures - 1))
