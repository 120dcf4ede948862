"""What differs between a state and its twin, found in small steps so that the state need never stand still for long.

Each function compares one kind of thing. It yields one :class:`Difference` a step and is to be advanced only while
both states stand still at the same epoch (:meth:`rag_rec.proof.twin.Twin.level`); between two steps both may
move on together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.counts import CountMatrix, Entries
from rag_rec.domain import Strategy
from rag_rec.index.serving_state import ServingState
from rag_rec.proof.lists import RankedList, model_with_inverse, ranked_lists
from rag_rec.proof.twin import Twin

BAND: Final = 128
"""Rows of a matrix that are compared in one step."""

INVERSE_TOLERANCE: Final = 1e-9
"""How far an entry of P may be from the twin's, relative to the twin's largest."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Outcome of one step: things compared, how many of them differ, and by how much at worst."""

    compared: int
    different: int
    worst: float = 0.0


def counts(live: ServingState, twin: Twin, name: str) -> Iterator[Difference]:
    """Compares the count matrix of this name: all counts that are not zero in one of the two."""
    first = 0
    while first < len(live.items):
        mine, theirs = (_matrix(each, name).band(first, first + BAND) for each in (live, twin.live))
        yield _entries(mine, theirs)
        first += BAND


def popularity(live: ServingState, twin: Twin) -> Iterator[Difference]:
    """Compares how often each item was chosen, by period and in total."""
    yield _entries(live.statistics.popularity.entries(), twin.live.statistics.popularity.entries())
    yield _arrays(live.statistics.popularity.total, twin.live.statistics.popularity.total)


def passages(live: ServingState, twin: Twin, users: Sequence[int]) -> Iterator[Difference]:
    """Compares the sequences that are searched for passages: each user's, and how many stand there in all."""
    for user in users:
        positives = twin.live.positives(twin.live.people.history(user))
        yield _one(all(each.statistics.sequences.holds(positives) for each in (live, twin.live)))
    yield _arrays(live.statistics.sequences.standing(), twin.live.statistics.sequences.standing())
    yield _one(live.statistics.sequences.rows == twin.live.statistics.sequences.rows)


def inverse(live: ServingState, twin: Twin) -> Iterator[Difference]:
    """Compares P with the twin's, relative to the twin's largest entry. Both keep dense counts."""
    first = 0
    while first < len(live.items):
        inverses = (each.statistics.inverse for each in (live, twin.live))
        mine, theirs = (inverse.matrix for inverse in inverses if inverse is not None)
        error = np.abs(mine[first : first + BAND] - theirs[first : first + BAND]) / theirs.diagonal().max()
        yield Difference(error.size, int((error >= INVERSE_TOLERANCE).sum()), float(error.max()))
        first += BAND


def item_vectors(live: ServingState, twin: Twin) -> Iterator[Difference]:
    """Compares the catalogue's vectors and clusters, to the bit."""
    first = 0
    while first < max(len(live.items.vectors()), len(twin.live.items.vectors())):
        rows = slice(first, first + BAND)
        yield _same_rows(live.items.vectors()[rows], twin.live.items.vectors()[rows])
        yield _arrays(live.items.clusters()[rows], twin.live.items.clusters()[rows])
        first += BAND


def histories(live: ServingState, twin: Twin, users: Sequence[int]) -> Iterator[Difference]:
    """Compares each user's interactions, to the bit."""
    for user in users:
        mine, theirs = (each.people.history(user) for each in (live, twin.live))
        yield _one(mine.tobytes() == theirs.tobytes())


def interaction_vectors(live: ServingState, twin: Twin, users: Sequence[int]) -> Iterator[Difference]:
    """Compares each user's list of interactions with their vectors, to the bit."""
    for user in users:
        mine, theirs = (each.people.interactions for each in (live, twin.live))
        same = _same(mine.interactions(user), theirs.interactions(user))
        same = same and _same(mine.own_numbers(user), theirs.own_numbers(user))
        yield _one(same and _same(mine.vectors(user), theirs.vectors(user)))


def profiles(live: ServingState, twin: Twin, users: Sequence[int]) -> Iterator[Difference]:
    """Compares each user's profile vector, to the bit."""
    for user in users:
        mine, theirs = (each.people.profile(user) for each in (live, twin.live))
        same = mine is theirs if mine is None or theirs is None else _same(mine, theirs)
        yield _one(same)


def lists(live: ServingState, twin: Twin, users: Sequence[int | None]) -> Iterator[Difference]:
    """Compares each user's list under every strategy: items, order, scores, sources, evidence and reasons.

    P of a state that has changed often is off by some rounding, which once in millions of features reaches the sixth
    decimal that the reader sees. :func:`inverse` judges that. A list that differs is therefore read once more with the
    twin's P over the state's own counts, and counts as different if it differs still; ``worst`` tells of both.
    """
    for user in users:
        mine, theirs = (ranked_lists(each, twin.store, twin.settings, user) for each in (live, twin.live))
        again = mine if mine == theirs else _with_inverse_of(twin, live, user)
        for strategy, expected in theirs.items():
            yield Difference(1, int(again[strategy] != expected), mine[strategy].distance(expected))


def users_of(live: ServingState, twin: Twin) -> list[int]:
    """Everybody of whom one of the two holds anything, ascending."""
    people = [each.people for each in (live, twin.live)]
    numbers = [each.profiles.numbers() for each in people] + [each.interactions.users() for each in people]
    told = {user for each in people for user, _ in each.histories()}
    return sorted(told.union(*(each.tolist() for each in numbers)))


def _matrix(live: ServingState, name: str) -> CountMatrix:
    statistics = live.statistics
    return statistics.together if name == "together" else statistics.transitions[name]


def _with_inverse_of(twin: Twin, live: ServingState, user: int | None) -> dict[Strategy, RankedList]:
    inverse = twin.live.statistics.inverse
    model = live.model if inverse is None else model_with_inverse(live, inverse)
    return ranked_lists(live, twin.store, twin.settings, user, model)


def _entries(mine: Entries, theirs: Entries) -> Difference:
    """Compares counts by place; a place that only one names counts 0 in the other."""
    if all(map(np.array_equal, mine, theirs)):
        return Difference(len(theirs[2]), 0)
    held: list[dict[tuple[int, int], int]] = []
    for rows, columns, values in (mine, theirs):
        held.append(dict(zip(zip(rows.tolist(), columns.tolist(), strict=True), values.tolist(), strict=True)))
    places = held[0].keys() | held[1].keys()
    errors = [abs(held[0].get(place, 0) - held[1].get(place, 0)) for place in places]
    return Difference(len(places), sum(error > 0 for error in errors), float(max(errors)))


def _arrays(mine: npt.NDArray[np.integer], theirs: npt.NDArray[np.integer]) -> Difference:
    """Compares two arrays of integers; what one lacks differs."""
    shared = min(len(mine), len(theirs))
    errors = np.abs(mine[:shared].astype(np.int64) - theirs[:shared])
    different = int((errors > 0).sum()) + abs(len(mine) - len(theirs))
    return Difference(max(len(mine), len(theirs)), different, float(errors.max(initial=0)))


def _same_rows(mine: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> Difference:
    shared = min(len(mine), len(theirs))
    errors = np.abs(mine[:shared] - theirs[:shared]).max(axis=1, initial=0.0)
    different = int((errors > 0).sum()) + abs(len(mine) - len(theirs))
    return Difference(max(len(mine), len(theirs)), different, float(errors.max(initial=0.0)))


def _same(mine: npt.NDArray[np.generic], theirs: npt.NDArray[np.generic]) -> bool:
    return mine.tobytes() == theirs.tobytes()


def _one(same: bool) -> Difference:
    return Difference(1, int(not same), float(not same))
