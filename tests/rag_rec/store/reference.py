"""A store that holds everything in dictionaries and does everything the slow and obvious way: the truth in tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Forgotten, UnknownItem
from rag_rec.events.history import HISTORY_DTYPE, History
from rag_rec.store.encoding import encode_attributes
from rag_rec.store.records import AppendResult, Change, ChangeKind, Counts, EventCount, Selection, StoredInteraction
from rag_rec.validation import check_interaction, check_item, check_user
from tests.rag_rec.store.reference_privacy import ReferencePrivacy


@dataclass
class ReferenceStore(ReferencePrivacy):
    """Implements the store protocol in memory."""

    catalogue: list[Item] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    log: list[Change] = field(default_factory=list)
    next_user: int = 0
    next_interaction: int = 0
    scrubbed_at: int = 0

    def epoch(self) -> int:
        return len(self.log)

    def changes(self, after: int) -> list[Change]:
        return [change for change in self.log if change.epoch > after]

    def removals(self, after: int) -> dict[int, int] | None:
        gone = [change for change in self.log if change.kind is ChangeKind.FORGET and change.epoch > after]
        return {change.number: change.epoch for change in gone}

    def counts(self) -> Counts:
        return Counts(len(self.people), len(self.catalogue), len(self.rows))

    def events(self) -> Sequence[str]:
        return list(self.names)

    def put_items(self, items: Sequence[Item]) -> int:
        for item in items:
            check_item(item)
        changed = []
        for item in {item.id: item for item in items}.values():
            known = self.item(item.id)
            if known is None:
                self.catalogue.append(item)
                changed.append(len(self.catalogue) - 1)
            elif not _same(known[1], item):
                self.catalogue[known[0]] = item
                changed.append(known[0])
        self._record(ChangeKind.ITEM, changed)
        return len(changed)

    def put_users(self, users: Sequence[User]) -> int:
        for user in users:
            check_user(user)
        if any(self._forgotten(user.id) for user in users):
            raise Forgotten("a person was forgotten")
        changed = []
        for user in {user.id: user for user in users}.values():
            known = self.user(user.id)
            number = known[0] if known else self._new_user(user)
            if known is None or encode_attributes(known[1].attributes) != encode_attributes(user.attributes):
                self.people[number] = user
                changed.append(number)
        self._record(ChangeKind.USER, changed)
        return len(changed)

    def append(self, interactions: Sequence[Interaction]) -> AppendResult:
        for interaction in interactions:
            check_interaction(interaction)
        admitted = [row for row in interactions if self._admits(row)]
        if any(self.item(row.item_id) is None for row in admitted):
            raise UnknownItem("no such item")
        fresh = [row for row in admitted if not self._is_stored_as_a_rating(row)]
        distinct = {(row.user_id, row.item_id, row.event, row.time): row for row in reversed(fresh)}
        ordered = sorted(distinct.values(), key=admitted.index)
        accepted = [at for at, row in enumerate(ordered, self.next_interaction) if self._append(at, row)]
        if accepted:  # what turns out to be stored already leaves a gap in the numbers
            self.next_interaction += len(ordered)
        self._record(ChangeKind.USER, sorted({self.rows[number][0] for number in accepted}))
        suppressed = len(interactions) - len(admitted)
        self.refused += suppressed
        return AppendResult(len(accepted), len(admitted) - len(accepted), suppressed)

    def append_frame(self, frame: pl.DataFrame) -> AppendResult:
        return self.append([Interaction(**row) for row in frame.to_dicts()])

    def item(self, item_id: str) -> tuple[int, Item] | None:
        return next(((number, item) for number, item in enumerate(self.catalogue) if item.id == item_id), None)

    def items(self, first: int = 0) -> Iterator[Item]:
        return iter(self.catalogue[first:])

    def items_by_number(self, numbers: Sequence[int]) -> list[Item]:
        if any(not 0 <= number < len(self.catalogue) for number in numbers):
            raise UnknownItem("no such number")
        return [self.catalogue[number] for number in numbers]

    def user(self, user_id: str) -> tuple[int, User] | None:
        return next(((number, user) for number, user in self.people.items() if user.id == user_id), None)

    def user_by_number(self, number: int) -> User | None:
        return self.people.get(number)

    def interactions(self, user_number: int, numbers: Sequence[int] | None = None) -> list[StoredInteraction]:
        mine = [StoredInteraction(number, row) for number, (user, row) in self.rows.items() if user == user_number]
        chosen = [stored for stored in mine if numbers is None or stored.number in numbers]
        return sorted(chosen, key=lambda stored: (stored.interaction.time, stored.number))

    def event_counts(self, minimum: Mapping[str, float]) -> list[EventCount]:
        counts = []
        for name in self.names:
            values = [row.value for _, row in self.rows.values() if row.event == name]
            least = minimum.get(name, math.inf)
            reaching = sum(value is not None and value >= least for value in values)
            counts.append(EventCount(name, len(values), values.count(None), reaching))
        return counts

    def history(self, user_number: int) -> History:
        rows = [
            (
                stored.number,
                self._item_number(stored.interaction.item_id),
                self.names.index(stored.interaction.event),
                np.nan if stored.interaction.value is None else stored.interaction.value,
                stored.interaction.time,
                stored.interaction.text is not None,
            )
            for stored in self.interactions(user_number)
        ]
        return np.array(rows, dtype=HISTORY_DTYPE)

    def histories(self) -> Iterator[tuple[int, History]]:
        for user in sorted({user for user, _ in self.rows.values()}):
            yield user, self.history(user)

    def select(self, user_number: int, selection: Selection) -> list[int]:
        chosen = []
        for stored in self.interactions(user_number):
            row = stored.interaction
            if selection.numbers and stored.number not in selection.numbers:
                continue
            if selection.item_ids and row.item_id not in selection.item_ids:
                continue
            if selection.before is not None and row.time >= selection.before:
                continue
            if selection.after is not None and row.time < selection.after:
                continue
            chosen.append(stored.number)
        return chosen

    def delete_user(self, user_number: int) -> Counts:
        if user_number not in self.people:
            return Counts(0, 0, 0)
        gone = [number for number, (user, _) in self.rows.items() if user == user_number]
        for number in gone:
            del self.rows[number]
        del self.people[user_number]
        self._record(ChangeKind.FORGET, [user_number])
        self.erased_at = self.epoch()
        return Counts(1, 0, len(gone))

    def delete_interactions(self, user_number: int, numbers: Sequence[int]) -> int:
        gone = [number for number in set(numbers) if number in self.rows and self.rows[number][0] == user_number]
        for number in gone:
            del self.rows[number]
        if gone:
            self._record(ChangeKind.FORGET, [user_number])
            self.erased_at = self.epoch()
        return len(gone)

    def scrub(self) -> None:
        """Dictionaries keep nothing that was deleted."""
        self.scrubbed_at = self.erased_at

    def scrub_pending(self) -> bool:
        return self.erased_at > self.scrubbed_at

    def check(self) -> None:
        """A dictionary is not lost."""

    def renew_connections(self) -> None:
        pass

    def close(self) -> None:
        """There is nothing to release."""

    def _is_stored_as_a_rating(self, row: Interaction) -> bool:
        if row.event != "interaction" or row.value is not None:
            return False
        rating = (row.user_id, row.item_id, "rating", row.time, None)
        stored = [(old.user_id, old.item_id, old.event, old.time, old.value) for _, old in self.rows.values()]
        if rating in stored and row.event not in self.names:
            self.names.append(row.event)
        return rating in stored

    def _append(self, at: int, row: Interaction) -> bool:
        known = self.user(row.user_id)
        number = known[0] if known else self._new_user(User(row.user_id))
        key = (row.item_id, row.event, row.time)
        if any((old.item_id, old.event, old.time) == key for user, old in self.rows.values() if user == number):
            return False
        if row.event not in self.names:
            self.names.append(row.event)
        self.rows[at] = (number, row)
        return True

    def _new_user(self, user: User) -> int:
        self.people[self.next_user] = user
        self.next_user += 1
        return self.next_user - 1

    def _item_number(self, item_id: str) -> int:
        return next(number for number, item in enumerate(self.catalogue) if item.id == item_id)

    def _record(self, kind: ChangeKind, numbers: Sequence[int]) -> None:
        for number in numbers:
            self.log.append(Change(len(self.log) + 1, kind, number))


def _same(left: Item, right: Item) -> bool:
    return (left.text, left.provider, encode_attributes(left.attributes)) == (
        right.text,
        right.provider,
        encode_attributes(right.attributes),
    )
