"""Everybody's positive histories side by side, searched for passages that resemble the end of one history.

A user's last items are looked up where they stand in other histories; places where several of them stand close
together count far more than their sum, and what follows those places is voted for. This is the session-based nearest
neighbour idea (Jannach & Ludewig, "When Recurrent Neural Networks meet the Neighborhood for Session-Based
Recommendation", RecSys 2017; Garg et al., "Sequence and Time Aware Neighborhood for Session-based Recommendations",
SIGIR 2019), with the match measured around each place and not over a whole session.

Votes are rounded to integers before they are added up, so that they do not depend on the order in which histories are
stored: a person who leaves takes their votes along and changes no other person's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rag_rec.errors import InvalidInput
from rag_rec.events.history import History

MATCHED = 10
"""How many of the last items are looked up."""

DECAY = 0.7
"""Weight of an item relative to the one after it."""

NEARBY = 12
"""Other matches count for a place when they stand within this many positions of it."""

FOLLOWING = 8
"""How many items after a place are voted for, with weight 1 / distance."""

POWERS = (2, 4)
"""The match around a place is raised to these powers; each gives votes of its own."""

PLACES_LIMIT = 4000
"""Places looked at for one item at most: the latest interactions. Bounds the time of a query."""

NOTHING = 0  # what stands between sequences; an item is stored as its number + 1
ROOM = NEARBY + FOLLOWING  # empty positions behind a sequence, so that no place reaches into the next one
UNIT = 2**20
VOTE_UNIT = 2**24

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """One consistent arrangement: ``items`` holds the sequences, ``places[item]`` where an item stands, ascending.

    ``interactions`` runs parallel to ``items``: the interaction's number, by which the latest places are told.
    """

    items: npt.NDArray[np.int32]
    interactions: npt.NDArray[np.int64]
    places: list[Places]


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one sequence stands."""

    start: int
    length: int
    room: int


class Sequences:
    """All sequences. One writer, any number of rerankers.

    A sequence is recognised by the number of its first interaction, which no other user's can have.
    """

    def __init__(self, rows: History, owners: npt.NDArray[np.int64], n_items: int) -> None:
        """Arrange the histories of all users: ``rows`` user by user, ``owners`` int64 [n] ascending."""
        self._arrange(rows, owners, n_items)

    @property
    def bytes(self) -> int:
        """Memory held."""
        layout = self._layout
        return int(layout.items.nbytes + layout.interactions.nbytes + sum(places.nbytes for places in layout.places))

    @property
    def rows(self) -> int:
        """How many interactions stand in sequences."""
        return int(np.count_nonzero(self._layout.items))

    def standing(self) -> npt.NDArray[np.int64]:
        """In how many places each item stands, int64 [n_items]."""
        return np.array([len(places) for places in self._layout.places], dtype=np.int64)

    def holds(self, history: History) -> bool:
        """Whether a history is held as it is: its items, its interactions, and the places where they stand."""
        slot = self._slots.get(_key(history)) if len(history) else None
        if slot is None:
            return not len(history)
        layout, positions = self._layout, slot.start + np.arange(slot.length)
        return (
            np.array_equal(self._held(slot), history["item"])
            and np.array_equal(layout.interactions[positions], history["interaction"])
            and all(position in layout.places[item] for item, position in zip(history["item"], positions, strict=True))
        )

    def check(self, old: History) -> None:
        """Raise ``InvalidInput`` unless ``old`` is a sequence that is held, as it is held."""
        slot = self._slots.get(_key(old)) if len(old) else None
        if len(old) and (slot is None or not np.array_equal(self._held(slot), old["item"])):
            raise InvalidInput("The old history is not the one that the statistics hold: build them again.")

    def replace(self, old: History, new: History) -> None:
        """Put ``new`` in place of ``old``, either of which may be empty."""
        slot = self._slots[_key(old)] if len(old) else None
        if slot and len(old) <= len(new) <= slot.room and _begins_with(new, old):
            self._write(new, slot, len(old))
            return
        if slot:
            self._remove(self._slots.pop(_key(old)))
        if len(new):
            self._append(new)

    def grow(self, n_items: int) -> None:
        """Add items that stand nowhere."""
        places = self._layout.places
        places.extend([np.empty(0, dtype=np.int64)] * (n_items - len(places)))

    def votes(self, history: npt.NDArray[np.integer], n_items: int) -> Floats:
        """Votes for what may follow the end of ``history`` (oldest first): whole numbers, [powers, n_items]."""
        layout = self._layout
        places, weights, match = _supported(*_matches(layout, history[-MATCHED:]))
        following = layout.items[places[:, None] + np.arange(1, FOLLOWING + 1)].ravel()
        strengths = [weights / UNIT * match**power * VOTE_UNIT for power in POWERS]
        distance = np.arange(1, FOLLOWING + 1)
        return np.stack([_tally(following, strength[:, None] / distance, n_items) for strength in strengths])

    def _arrange(self, rows: History, owners: npt.NDArray[np.int64], n_items: int) -> None:
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        positions = np.arange(len(rows)) + ROOM * (np.searchsorted(starts, np.arange(len(rows)), side="right"))
        size = len(rows) + ROOM * (len(starts) + 1)
        items, interactions = np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int64)
        items[positions], interactions[positions] = rows["item"] + 1, rows["interaction"]
        order = np.argsort(rows["item"], kind="stable")
        bounds = np.searchsorted(rows["item"][order], np.arange(n_items + 1))
        places = [positions[order[a:b]] for a, b in pairwise(bounds)]
        lengths = np.diff(np.append(starts, len(rows)))
        slots = map(Slot, positions[starts].tolist(), lengths.tolist(), lengths.tolist())
        self._slots = dict(zip(rows["interaction"][starts].tolist(), slots, strict=True))
        if len(self._slots) < len(starts):
            raise InvalidInput("Two histories share an interaction number: numbers must be unique.")
        self._layout = Layout(items, interactions, places)
        self._end = size - ROOM
        self._empty = 0

    def _held(self, slot: Slot) -> npt.NDArray[np.int32]:
        return np.asarray(self._layout.items[slot.start : slot.start + slot.length] - 1)

    def _write(self, new: History, slot: Slot, first: int) -> None:
        """Write the rows of ``new`` from ``first`` on into a slot, and their places."""
        layout, added = self._layout, new[first:]
        positions = slot.start + first + np.arange(len(added))
        layout.items[positions], layout.interactions[positions] = added["item"] + 1, added["interaction"]
        for item, position in zip(added["item"].tolist(), positions.tolist(), strict=True):
            places = layout.places[item]
            layout.places[item] = np.insert(places, np.searchsorted(places, position), position)
        self._slots[_key(new)] = Slot(slot.start, len(new), slot.room)

    def _remove(self, slot: Slot) -> None:
        layout = self._layout
        for position, item in enumerate(self._held(slot).tolist(), slot.start):
            places = layout.places[item]
            place = places.searchsorted(position)
            layout.places[item] = np.concatenate((places[:place], places[place + 1 :]))
        taken = slice(slot.start, slot.start + slot.length)
        layout.items[taken], layout.interactions[taken] = NOTHING, 0
        self._empty += slot.room + ROOM

    def _append(self, new: History) -> None:
        room = len(new) + len(new) // 2 + 4
        if self._end + ROOM + room + ROOM > len(self._layout.items):
            self._make_room(room)
        slot = Slot(self._end + ROOM, len(new), room)
        self._end = slot.start + room
        self._write(new, slot, 0)

    def _make_room(self, room: int) -> None:
        """Twice the positions; without the empty ones where these are the larger part."""
        if self._empty > len(self._layout.items) // 2:
            self._compact()
        layout = self._layout
        size = 2 * (len(layout.items) + room + 2 * ROOM)
        items, interactions = np.zeros(size, dtype=np.int32), np.zeros(size, dtype=np.int64)
        items[: len(layout.items)], interactions[: len(layout.items)] = layout.items, layout.interactions
        # The old layout keeps its own list: who still reads it must not meet places that it has no room for.
        self._layout = Layout(items, interactions, list(layout.places))

    def _compact(self) -> None:
        layout = self._layout
        slots = sorted(self._slots.values(), key=lambda slot: slot.start)
        where = np.concatenate([np.empty(0, np.int64), *(slot.start + np.arange(slot.length) for slot in slots)])
        rows = np.zeros(len(where), dtype=[("item", "<i4"), ("interaction", "<i8")])
        rows["item"], rows["interaction"] = layout.items[where] - 1, layout.interactions[where]
        self._arrange(rows, np.repeat(np.arange(len(slots)), [slot.length for slot in slots]), len(layout.places))


def _begins_with(new: History, old: History) -> bool:
    names = ["item", "interaction"]
    return np.array_equal(new[: len(old)][names], old[names])


def _key(history: History) -> int:
    return int(history["interaction"][0])


def _matches(layout: Layout, recent: npt.NDArray[np.integer]) -> tuple[Places, npt.NDArray[np.int64]]:
    """Places of the recent items, ascending, and their weights: less for older and for common items."""
    found = [layout.places[item] for item in recent[::-1].tolist()]
    weights = [round(UNIT * DECAY**age / math.log(2 + len(places))) for age, places in enumerate(found)]
    found = [_latest(layout, places) for places in found]
    repeated = np.repeat(np.array(weights, dtype=np.int64), [len(places) for places in found])
    places = np.concatenate(found)
    order = np.argsort(places)
    return places[order], repeated[order]


def _latest(layout: Layout, places: Places) -> Places:
    if len(places) <= PLACES_LIMIT:
        return places
    return places[np.argpartition(layout.interactions[places], -PLACES_LIMIT)[-PLACES_LIMIT:]]


def _supported(places: Places, weights: npt.NDArray[np.int64]) -> tuple[Places, npt.NDArray[np.int64], Floats]:
    """Only the places with another match nearby, and how strong the match is around each.

    A place where an item stands alone says no more than the transition counts do.
    """
    nearby = _nearby(places, weights)
    kept = np.flatnonzero(nearby > weights)
    return places[kept], weights[kept], nearby[kept] / UNIT


def _nearby(places: Places, weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Summed weights of the matches within :data:`NEARBY` positions of each place, the place itself included."""
    total = np.concatenate([[0], np.cumsum(weights)])
    first = np.searchsorted(places, places - NEARBY)
    last = np.searchsorted(places, places + NEARBY, side="right")
    return np.asarray(total[last] - total[first])


def _tally(items: npt.NDArray[np.int32], votes: Floats, n_items: int) -> Floats:
    # Sums of whole numbers below 2**53 are exact in float64, in any order.
    tally = np.bincount(items, weights=np.rint(votes).ravel(), minlength=n_items + 1)
    return np.asarray(tally[1 : n_items + 1], dtype=np.float64)
