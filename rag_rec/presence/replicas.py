"""The running services that answer from memory, and which of them are behind."""

from __future__ import annotations

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from rag_rec.clock import now_ms
from rag_rec.presence.hosts import this_process_space
from rag_rec.store.protocol import Store
from rag_rec.store.records import Replica

EXPIRY_MS: Final = 15_000
"""A replica that has not been heard of for so long is not running any more."""


LEASE_MS: Final = 10_000
"""For so long after it was last heard of a replica may answer. It is shorter than :data:`EXPIRY_MS`, so that nobody
stops waiting for a replica that still answers; the difference is what the clocks of two hosts may differ by."""

BEAT_MS: Final = 3_000
"""How often a replica is heard of when nothing happens."""


def present(replica_id: str, epoch: int, adapters: tuple[str, ...] = ()) -> Replica:
    """What a replica of this process says of itself."""
    return Replica(replica_id, this_process_space(), os.getpid(), epoch, now_ms(), adapters)


def lagging(store: Store, epoch: int, own: str | None) -> list[str]:
    """Ids of the live replicas, other than ``own``, whose memory has not reached an epoch.

    Replicas that are not running any more are taken off the list.
    """
    behind = []
    for replica in store.replicas():
        if replica.id == own or replica.epoch >= epoch:
            continue
        if is_running(replica):
            behind.append(replica.id)
        else:
            store.drop_silent(replica)
    return behind


def is_running(replica: Replica) -> bool:
    """Whether a replica can still answer, as far as can be told from here."""
    if replica.seen < now_ms() - EXPIRY_MS:
        return False
    if replica.host != this_process_space():
        return True
    with suppress(PermissionError):
        try:
            os.kill(replica.process, 0)
        except ProcessLookupError:
            return False
    return True


def uptime_ms() -> int:
    """Milliseconds since some moment in the past. They go on while the machine sleeps, where its clock can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000_000


def _nothing() -> None:
    """Answers that nobody sends have left when they are made."""


class Presence:
    """This process on the list of live replicas, once it has joined. Thread-safe.

    Being on the list is a lease: the others wait for this process as long as it was heard of lately, and it may answer
    for a shorter time than that. A *term* is an unbroken lease. After a break the process has to follow the store
    before it is heard of again, and what was begun in an earlier term must not leave any more.
    """

    def __init__(self, store: Store) -> None:
        self.id: str | None = None
        self._store = store
        self._said = present("", -1)
        self._let_answers_leave: Callable[[], None] = _nothing
        self._turn = threading.Lock()
        self._number = 0
        self._leased_until = 0

    @property
    def term(self) -> int | None:
        """The number of the present term; None while the lease is over. One that never joined has none to lose."""
        if self.id is None:
            return self._number
        number = self._number  # before the lease is looked at: a new term begins with a new number
        return number if uptime_ms() < self._leased_until else None

    @property
    def said(self) -> int:
        """The epoch that was said last; one beyond every other as long as nobody is told anything."""
        return self._said.epoch if self.id is not None else sys.maxsize

    def join(
        self,
        epoch: int,
        adapters: tuple[str, ...] = (),
        let_answers_leave: Callable[[], None] = _nothing,
        instead_of: str | None = None,
    ) -> None:
        """Go on the list, with an id that nobody had before.

        Args:
            epoch: that the memory has reached.
            adapters: digests of those in memory, sorted.
            let_answers_leave: waits until every answer that was begun by now has left. It is called before a removal
                is said to have been followed, or an adapter to be gone.
            instead_of: an id that was taken off the list. Nothing happens where another thread has joined again since.
        """
        with self._turn:
            if instead_of is not None and self.id != instead_of:
                return
            self._let_answers_leave = let_answers_leave
            self.id = secrets.token_hex(8)
            self._say(epoch, adapters, self._joined)

    def beat(self, epoch: int, adapters: tuple[str, ...] = ()) -> bool:
        """Say which epoch the memory has reached and which adapters are in it.

        That is said at once if something was removed since, the adapters are others than before, or the lease is over;
        else now and then. The memory has to have followed the store in this call's term.

        Returns:
            False where others have taken this process off the list meanwhile: it has to join again.
        """
        with self._turn:
            erased = self._store.erasure_epoch()
            news = self._said.epoch < erased or self._said.adapters != adapters
            if self.id is None or not (news or self.term is None or self._is_due()):
                return True
            if news:
                self._let_answers_leave()
            return self._say(epoch, adapters, self._store.renew)

    def stay(self) -> None:
        """Say again now and then what was said last: the process runs, and is busy with what takes long. That does
        not renew a lease that is over."""
        with self._turn:
            if self.id is not None and self._is_due() and self.term is not None:
                self._say(self._said.epoch, self._said.adapters, self._store.renew)

    def leave(self) -> None:
        """Go off the list."""
        with self._turn:
            if self.id is not None:
                self._store.leave(self.id)
                self.id = None

    def _is_due(self) -> bool:
        return self._said.seen < now_ms() - BEAT_MS

    def _joined(self, replica: Replica) -> bool:
        self._store.beat(replica)
        return True

    def _say(self, epoch: int, adapters: tuple[str, ...], write: Callable[[Replica], bool]) -> bool:
        begun = uptime_ms()  # before it is written: others count from a time that is no earlier
        replica = present(str(self.id), epoch, adapters)
        if not write(replica):
            self._leased_until = 0
            return False
        if uptime_ms() >= self._leased_until:
            self._number += 1
        self._said = replica
        self._leased_until = begun + LEASE_MS
        return True
