"""Reads interactions: as arrays for the algorithms, and in full for export and prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import and_, bindparam, case, false, func, or_, select

from rag_rec.domain import Interaction
from rag_rec.events.history import HISTORY_DTYPE, History
from rag_rec.store.part import Part
from rag_rec.store.records import Counts, EventCount, Selection, StoredInteraction
from rag_rec.store.schema import events, interactions, items, users

_ROWS_PER_READ = 50_000
_stored = interactions.c
_HISTORY = (
    _stored.number,
    _stored.item_number,
    _stored.event_code,
    _stored.value,
    _stored.time,
    _stored.text.is_not(None).label("own_text"),
)
_MINE = select(*_HISTORY).where(_stored.user_number == bindparam("n"))
_PAGE = (
    select(_stored.user_number, *_HISTORY)
    .where(_stored.user_number > bindparam("after"))
    .order_by(_stored.user_number)
    .limit(bindparam("limit"))
)
_FULL = (
    select(_stored.number, _stored.time, _stored.value, _stored.text, users.c.id, items.c.id, events.c.name)
    .select_from(interactions.join(users).join(items).join(events))
    .where(_stored.user_number == bindparam("n"))
)
_EVENTS = select(events.c.name).order_by(events.c.code)
_COUNTS = select(*(select(func.count()).select_from(table).scalar_subquery() for table in (users, items, interactions)))


class Histories(Part):
    """Reads interactions by user."""

    def events(self) -> list[str]:
        """Event names by code."""
        return [name for (name,) in self._database.rows(_EVENTS)]

    def event_counts(self, minimum: Mapping[str, float]) -> list[EventCount]:
        """How many interactions carry each event, by code, and how many of these reach its ``minimum``."""
        names = self.events()
        asked = {code: minimum[name] for code, name in enumerate(names) if name in minimum}
        query = self._database.query(("event counts", *asked.items()), lambda: _event_statement(asked))
        with self._database.reader() as cursor:
            found = {code: counts for code, *counts in query.rows(cursor)}
        return [EventCount(name, *map(int, found.get(code, (0, 0, 0)))) for code, name in enumerate(names)]

    def history(self, user_number: int) -> History:
        """A user's interactions as an array, by (time, number)."""
        return _sorted(np.array(self._database.rows(_MINE, n=int(user_number)), dtype=HISTORY_DTYPE))

    def histories(self) -> Iterator[tuple[int, History]]:
        """The histories of all users that have interactions, by user number."""
        user = -1
        while True:
            rows = self._database.rows(_PAGE, after=user, limit=_ROWS_PER_READ)
            if not rows:
                return
            if len(rows) == _ROWS_PER_READ:
                rows = _whole_users(rows)
            if not rows:  # one user fills a page
                user = self._next_user(user)
                yield user, self.history(user)
                continue
            yield from _split(rows)
            user = rows[-1][0]

    def interactions(self, user_number: int, numbers: Sequence[int] | None = None) -> list[StoredInteraction]:
        """A user's interactions by (time, number); only the given numbers if there are any."""
        rows = self._database.rows(_FULL, n=int(user_number))
        wanted = None if numbers is None else {int(number) for number in numbers}
        rows = [row for row in rows if wanted is None or row[0] in wanted]
        rows.sort(key=lambda row: (row[1], row[0]))
        return [
            StoredInteraction(number, Interaction(user, item, time, event, value, text))
            for number, time, value, text, user, item, event in rows
        ]

    def select(self, user_number: int, selection: Selection) -> list[int]:
        """Numbers of the user's interactions that a selection means, by (time, number)."""
        return [
            stored.number
            for stored in self.interactions(user_number)
            if (not selection.numbers or stored.number in selection.numbers)
            and (not selection.item_ids or stored.interaction.item_id in selection.item_ids)
            and (selection.before is None or stored.interaction.time < selection.before)
            and (selection.after is None or stored.interaction.time >= selection.after)
        ]

    def counts(self) -> Counts:
        """Rows of each kind."""
        return Counts(*self._database.rows(_COUNTS)[0])

    def _next_user(self, user: int) -> int:
        return int(self._database.rows(_PAGE, after=user, limit=1)[0][0])


def _event_statement(minimum: Mapping[int, float]) -> Any:
    reached = or_(
        false(), *(and_(_stored.event_code == code, _stored.value >= least) for code, least in minimum.items())
    )
    none = func.count() - func.count(_stored.value)
    counts = (func.count(), none, func.coalesce(func.sum(case((reached, 1), else_=0)), 0))
    return select(_stored.event_code, *counts).group_by(_stored.event_code)


def _sorted(history: History) -> History:
    return history[np.lexsort((history["interaction"], history["time"]))]


def _whole_users(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The rows without the last user, whose history may go on beyond the page."""
    last, stop = rows[-1][0], len(rows)
    while stop and rows[stop - 1][0] == last:
        stop -= 1
    return rows[:stop]


def _split(rows: list[tuple[Any, ...]]) -> Iterator[tuple[int, History]]:
    table = np.array(rows, dtype=[("user", "<i8"), *HISTORY_DTYPE.descr])
    table = table[np.lexsort((table["interaction"], table["time"], table["user"]))]
    histories = table[list(HISTORY_DTYPE.names or ())].astype(HISTORY_DTYPE)
    starts = np.flatnonzero(np.diff(table["user"], prepend=-1))
    for user, history in zip(table["user"][starts], np.split(histories, starts[1:]), strict=True):
        yield int(user), history
