"""What a system should hold after any sequence of commands: a plain list of interactions, and who may not come back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rag_rec.domain import Interaction
from rag_rec.store.records import AppendResult

Key = tuple[str, str, int]
"""Item, event and time: with the user, what identifies an interaction."""

Log = dict[str, dict[Key, Interaction]]


def key_of(row: Interaction) -> Key:
    return row.item_id, row.event, row.time


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A backup: who had what, and how many removals there had been."""

    users: Log
    removals: int


@dataclass
class Model:
    """The reference.

    Attributes:
        users: who is there, and every interaction of theirs.
        forgotten: who was forgotten as a whole; the value is from when on their events count again, None for never.
        refused: single interactions that were forgotten.
        held: who may not be forgotten.
        removals: everything that was forgotten so far, in order; None as keys means the whole user.
        marks: texts that may not be anywhere any more.
    """

    users: Log = field(default_factory=dict)
    forgotten: dict[str, int | None] = field(default_factory=dict)
    refused: set[tuple[str, Key]] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    removals: list[tuple[str, frozenset[Key] | None]] = field(default_factory=list)
    marks: set[str] = field(default_factory=set)

    def append(self, rows: Sequence[Interaction]) -> AppendResult:
        """Store events: those of the forgotten are suppressed, those that are there already are duplicates."""
        admitted = [row for row in rows if self._admitted(row)]
        accepted = 0
        for row in admitted:
            mine = self.users.setdefault(row.user_id, {})
            accepted += key_of(row) not in mine
            mine.setdefault(key_of(row), row)
        return AppendResult(accepted, len(admitted) - accepted, len(rows) - len(admitted))

    def is_gone(self, user_id: str) -> bool:
        """Whether nothing is taken of this user."""
        return self.forgotten.get(user_id, 0) is None

    def gone(self) -> list[str]:
        """Of whom nothing is taken."""
        return [user_id for user_id in self.forgotten if self.is_gone(user_id)]

    def forget_users(self, user_ids: Iterable[str]) -> int:
        """Forget whole users. Returns how many interactions went."""
        gone = 0
        for user_id in user_ids:
            rows = self.users.pop(user_id)
            gone += len(rows)
            self._mark(rows.values())
            self.forgotten[user_id] = None
            self.removals.append((user_id, None))
        return gone

    def forget_rows(self, user_id: str, keys: frozenset[Key]) -> int:
        """Forget some interactions of a user. Returns how many went."""
        self._mark(self.users[user_id].pop(key) for key in keys)
        self.refused |= {(user_id, key) for key in keys}
        self.removals.append((user_id, keys))
        return len(keys)

    def snapshot(self) -> Snapshot:
        """A backup of the present state."""
        return Snapshot({user: dict(rows) for user, rows in self.users.items()}, len(self.removals))

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a backup, without what was forgotten after it."""
        self.users = {user: dict(rows) for user, rows in snapshot.users.items()}
        for user_id, keys in self.removals[snapshot.removals :]:
            if keys is None:
                self.users.pop(user_id, None)
            elif user_id in self.users:
                self.users[user_id] = {key: row for key, row in self.users[user_id].items() if key not in keys}

    def _admitted(self, row: Interaction) -> bool:
        since = self.forgotten.get(row.user_id, 0)
        return since is not None and row.time >= since and (row.user_id, key_of(row)) not in self.refused

    def _mark(self, rows: Iterable[Interaction]) -> None:
        self.marks |= {row.text for row in rows if row.text}
