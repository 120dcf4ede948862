"""Open connections: how many there may be, in all and from one address, and how long each may keep the service waiting.

A connection on which the service waits for its caller costs an open file and gives nothing. At the limit the one that
has been waited for longest makes room; a new one is refused only where the service works for all the others.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Connection(Protocol):
    """What is needed of one connection. It is compared by identity."""

    address: str

    def unread(self) -> int:
        """Bytes of answers that the caller has not taken yet."""

    def expire(self) -> None:
        """End it: the caller took too long."""

    def drop(self) -> None:
        """End it at once, with whatever is still in its buffer."""


@dataclass(slots=True)
class _Entry:
    due: float = float("inf")
    unread: int = 0
    unread_since: float = 0.0


@dataclass
class Connections:
    """The open connections of one server. Not thread-safe: it belongs to the event loop.

    Attributes:
        most: connections open at once.
        most_of_address: the same from one address.
        unread_seconds: how long a caller may take nothing of an answer.
        evicted: connections ended to make room.
        refused: connections refused at the limit.
        expired: connections ended because their callers took too long.
    """

    most: int
    most_of_address: int
    unread_seconds: float
    now: Callable[[], float] = time.monotonic
    evicted: int = 0
    refused: int = 0
    expired: int = 0
    _open: dict[Connection, _Entry] = field(default_factory=dict)
    _waiting: dict[Connection, None] = field(default_factory=dict)
    """Those whose caller's turn it is, longest first."""
    _of_address: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Take up a new connection; at the limit another one makes room if it can."""
        if self._of_address[connection.address] >= self.most_of_address:
            room = self._make_room(connection.address)
        else:
            room = len(self._open) < self.most or self._make_room()
        if room:
            self._open[connection] = _Entry()
            self._of_address[connection.address] += 1
        else:
            self.refused += 1
        return room

    def remove(self, connection: Connection) -> None:
        """The connection is closed, or was refused."""
        self._waiting.pop(connection, None)
        if self._open.pop(connection, None) is not None:
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    def wait(self, connection: Connection, seconds: float) -> None:
        """It is the caller's turn, for so long at most; it counts from now, even if it was the caller's turn before."""
        if connection in self._open:
            self._open[connection].due = self.now() + seconds
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def work(self, connection: Connection) -> None:
        """It is the service's turn."""
        if connection in self._open:
            self._open[connection].due = float("inf")
            self._waiting.pop(connection, None)

    def sweep(self) -> None:
        """End the connections whose callers took too long to send, or to read."""
        now = self.now()
        for connection, entry in list(self._open.items()):
            if entry.due < now:
                self.expired += 1
                entry.due = float("inf")
                connection.expire()
            elif self._is_stuck(connection, entry, now):
                self.expired += 1
                connection.drop()

    def _is_stuck(self, connection: Connection, entry: _Entry, now: float) -> bool:
        unread = connection.unread()
        if not unread or unread < entry.unread or not entry.unread:
            entry.unread, entry.unread_since = unread, now
            return False
        return now - entry.unread_since > self.unread_seconds

    def _make_room(self, address: str | None = None) -> bool:
        """End the connection that has been waited for longest, of this address if one is given."""
        for connection in self._waiting:
            if address is None or connection.address == address:
                self.evicted += 1
                self.remove(connection)
                connection.drop()
                return True
        return False
