"""Looks whether a person whom the ledger calls forgotten is in a store.

It reads the ledger in its own way, so that a fault in its replay does not hide itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from rag_rec.domain import Interaction
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.store.archive import Snapshot, snapshot
from rag_rec.store.database import Database
from rag_rec.store.records import LedgerEntry
from rag_rec.store.schema import events, interactions, items, users


@dataclass(frozen=True, slots=True)
class ForgottenCheck:
    """How many people and single interactions are to be gone, and how many of each are there all the same."""

    people: int
    interactions: int
    people_back: int
    interactions_back: int

    @property
    def nobody(self) -> bool:
        """Whether all are gone."""
        return self.people_back == self.interactions_back == 0


@dataclass(slots=True)
class _Forgotten:
    """People who are gone; from when on events of those who consented count again; interactions that are gone."""

    people: set[str] = field(default_factory=set)
    since: dict[str, int] = field(default_factory=dict)
    rows: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


def returned(database: Database, entries: Sequence[LedgerEntry], pseudonyms: Pseudonyms) -> ForgottenCheck:
    """Compare a store with a ledger."""
    forgotten = _read(entries)
    with snapshot(database) as state:
        named = [(number, user_id) for frame in state.frames(users) for number, user_id, _ in frame.iter_rows()]
        subjects = {number: (pseudonyms.user(user_id), user_id) for number, user_id in named}
        back = sum(subject in forgotten.people for subject, _ in subjects.values())
        rows_back = sum(_is_back(forgotten, subject, row, pseudonyms) for subject, row in _rows(state, subjects))
    count = sum(map(len, forgotten.rows.values()))
    return ForgottenCheck(len(forgotten.people) + len(forgotten.since), count, back, rows_back)


def _read(entries: Sequence[LedgerEntry]) -> _Forgotten:
    forgotten = _Forgotten()
    for entry in entries:
        body = orjson.loads(entry.body)
        if entry.kind == "erasure" and body["scope"] == "user":
            forgotten.people.add(body["subject"])
            forgotten.since.pop(body["subject"], None)
        elif entry.kind == "erasure":
            forgotten.rows[body["subject"]].update(body["interactions"])
        elif entry.kind == "consent":
            forgotten.people.discard(body["subject"])
            forgotten.since[body["subject"]] = body["time"]
    return forgotten


def _is_back(forgotten: _Forgotten, subject: str, row: Interaction, pseudonyms: Pseudonyms) -> bool:
    if subject in forgotten.people or row.time < forgotten.since.get(subject, row.time):
        return True
    listed = forgotten.rows.get(subject, set())
    return bool(listed) and pseudonyms.interaction(row) in listed


def _rows(state: Snapshot, subjects: dict[int, tuple[str, str]]) -> Iterator[tuple[str, Interaction]]:
    item_ids = {row[0]: row[1] for frame in state.frames(items) for row in frame.select("number", "id").iter_rows()}
    names = {code: name for frame in state.frames(events) for code, name in frame.iter_rows()}
    columns = ("user_number", "item_number", "event_code", "time")
    for frame in state.frames(interactions):
        for user, item, event, time in frame.select(columns).iter_rows():
            subject, user_id = subjects[user]
            yield subject, Interaction(user_id, item_ids[item], time, names[event])
