"""This process on the lists of its store: the live replicas, the processes with memory of people, the data folders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from rag_rec.engine.current import Current
from rag_rec.errors import DiskFull, StoreAway, StoreLost
from rag_rec.places.cleaning import Cleaner
from rag_rec.places.occupation import Occupation
from rag_rec.presence import processes
from rag_rec.presence.remnants import Remnants
from rag_rec.presence.replicas import Presence
from rag_rec.store.records import ServiceProcess

log = structlog.get_logger()


class Attendance:
    """Whether others wait for this process, and whether it may answer. Thread-safe.

    Args:
        current: what answers.
        place: the data folder, open; None where nothing is cleaned, as in a command that only reads.
        process: this process on the list of those that read people.
    """

    def __init__(
        self, current: Current, place: Occupation | None = None, process: ServiceProcess | None = None
    ) -> None:
        self._current = current
        self._store = current.store
        self._presence = Presence(current.store)
        self._attending = threading.Lock()
        self._let_answers_leave: Callable[[], None] = lambda: None  # without a server no answer is under way
        self._place = place
        self._process = process
        self._remnants = Remnants(current.store) if current.settings.overwrite_freed else None

    @property
    def replica(self) -> str | None:
        """The id of this process among the live replicas, if it has joined."""
        return self._presence.id

    @property
    def term(self) -> int | None:
        """The number of the present term on the list of live replicas; None while the lease is over, and nothing
        personal may leave. What was begun in one term must not leave in another. See :class:`Presence`."""
        return self._presence.term

    def join(self, let_answers_leave: Callable[[], None] = lambda: None, instead_of: str | None = None) -> None:
        """Go on the list of live replicas: forget requests elsewhere wait until this memory has followed.

        Only with what is current after that, requests may be answered: an adapter that was replaced before this memory
        was on the list is let go of here.

        Args:
            let_answers_leave: waits until every answer that was begun by now has left; called before others are told.
            instead_of: see :meth:`Presence.join`.
        """
        self._let_answers_leave = let_answers_leave
        current = self._current
        self._presence.join(current.live.epoch, current.ranking.adapters, let_answers_leave, instead_of)
        current.refresh_ranking()
        self.say()

    def stay(self) -> None:
        """Remain on the list of live replicas while a refresh takes long. See :meth:`Presence.stay`."""
        self._presence.stay()

    def attend(self) -> bool:
        """Follow the store at once where a person was forgotten, and say so. Waits for no other removal.

        Called many times a second: it reads one number where nothing happened. A lease that is over begins anew here.

        Returns:
            Whether a person was forgotten since this was called last, or the lease was over.
        """
        if not self._attending.acquire(blocking=False):
            return False
        try:
            erased = self._store.erasure_epoch()
            news = erased > self._presence.said or self._presence.term is None
            if news:
                self._current.live.follow()
                self.say()
            return news
        finally:
            self._attending.release()

    def keep_up(self) -> None:
        """Follow the store and say so, and let go of what was freed."""
        self._current.live.follow()
        self.say()
        if self._remnants is not None:
            self._remnants.let_go_of_removed()

    def say(self) -> None:
        """Say what memory has reached, and which adapters are in it. The caller has followed the store."""
        known, current = self._presence.id, self._current
        if not self._presence.beat(current.live.epoch, current.ranking.adapters):
            log.warning("replica_rejoins")  # it was silent for too long: removals do not wait for it any more
            self.join(self._let_answers_leave, known)

    def clean(self) -> None:
        """Clean the data folder and report it. Raises as :meth:`Cleaner.clean`."""
        if self._place is not None:
            self._place.beat()
            Cleaner(self._current.settings, self._store, self._place).clean()

    def remain(self) -> None:
        """See that this process is on the list of those that may hold something in freed memory: others take one that
        was silent for long off it."""
        if self._process is not None and self._process.id not in {each.id for each in self._store.processes()}:
            self._store.put_process(self._process)

    def leave(self) -> None:
        """Go off the lists."""
        served = self._presence.id is not None
        with _even_without_a_store():
            self._presence.leave()
        if served and self._process is not None:  # a program that uses the library may go on for long after this
            with _even_without_a_store():
                processes.leave(self._store, self._process)
        if self._place is not None:
            with _even_without_a_store():
                self._place.close()


@contextmanager
def _even_without_a_store() -> Iterator[None]:
    """Around what says goodbye in the store: one that is lost, away or full keeps no process from ending."""
    try:
        yield
    except (StoreAway, StoreLost, DiskFull) as error:  # what others wait for ends by itself
        log.error("leave_failed", code=error.code)
