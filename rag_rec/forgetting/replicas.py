"""The running services that answer from memory, and which of them are behind."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from rag_rec.clock import now_ms
from rag_rec.store.protocol import Store
from rag_rec.store.records import Replica

EXPIRY_MS: Final = 15_000
"""A replica that has not been heard of for so long is not running any more."""


BEAT_MS: Final = 5_000
"""How often a replica is heard of when nothing happens."""


def present(replica_id: str, epoch: int, adapters: tuple[str, ...] = ()) -> Replica:
    """What a replica of this process says of itself."""
    return Replica(replica_id, socket.gethostname(), os.getpid(), epoch, now_ms(), adapters)


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
            store.leave(replica.id)
    return behind


def is_running(replica: Replica) -> bool:
    """Whether a replica can still answer, as far as can be told from here."""
    if replica.seen < now_ms() - EXPIRY_MS:
        return False
    if replica.host != socket.gethostname():
        return True
    with suppress(PermissionError):
        try:
            os.kill(replica.process, 0)
        except ProcessLookupError:
            return False
    return True


def _nothing() -> None:
    """Answers that nobody sends have left when they are made."""


class Presence:
    """This process on the list of live replicas, once it has joined. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self.id: str | None = None
        self._store = store
        self._said = present("", -1)
        self._let_answers_leave: Callable[[], None] = _nothing
        self._turn = threading.Lock()

    def join(
        self, epoch: int, adapters: tuple[str, ...] = (), let_answers_leave: Callable[[], None] = _nothing
    ) -> None:
        """Go on the list, with an id that nobody had before.

        Args:
            epoch: that the memory has reached.
            adapters: digests of those in memory, sorted.
            let_answers_leave: waits until every answer that was begun by now has left. It is called before a removal
                is said to have been followed, or an adapter to be gone.
        """
        with self._turn:
            self._let_answers_leave = let_answers_leave
            self.id = secrets.token_hex(8)
            self._say(epoch, adapters)

    def beat(self, epoch: int, adapters: tuple[str, ...] = ()) -> None:
        """Say which epoch the memory has reached and which adapters are in it.

        That is said at once if something was removed since, or the adapters are others than before; else now and then.
        """
        with self._turn:
            erased = self._store.erasure_epoch()
            news = self._said.epoch < erased or self._said.adapters != adapters
            if self.id is not None and (news or self._is_due()):
                if news:
                    self._let_answers_leave()
                self._say(epoch, adapters)

    def stay(self) -> None:
        """Say again now and then what was said last: the process runs, and is busy with what takes long."""
        with self._turn:
            if self.id is not None and self._is_due():
                self._say(self._said.epoch, self._said.adapters)

    def leave(self) -> None:
        """Go off the list."""
        with self._turn:
            if self.id is not None:
                self._store.leave(self.id)
                self.id = None

    def _is_due(self) -> bool:
        return self._said.seen < now_ms() - BEAT_MS

    def _say(self, epoch: int, adapters: tuple[str, ...]) -> None:
        replica = present(str(self.id), epoch, adapters)
        self._store.beat(replica)
        self._said = replica
