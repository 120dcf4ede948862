from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.candidates import sequences as module
from rag_rec.candidates.lagged_pairs import concatenate
from rag_rec.candidates.sequences import DECAY, FOLLOWING, MATCHED, NEARBY, POWERS, Sequences
from rag_rec.errors import InvalidInput
from rag_rec.events.history import HISTORY_DTYPE, History, empty_history

ITEMS = 12
items = st.lists(st.integers(0, ITEMS - 1), unique=True, min_size=1, max_size=ITEMS)
people = st.dictionaries(st.integers(0, 9), items, max_size=7)


def history_of(user: int, chosen: list[int]) -> History:
    history = np.zeros(len(chosen), dtype=HISTORY_DTYPE)
    history["item"] = chosen
    history["interaction"] = 100 * user + np.arange(len(chosen))
    return history


def build(everybody: dict[int, list[int]]) -> Sequences:
    rows, owners = concatenate([history_of(user, chosen) for user, chosen in everybody.items()])
    return Sequences(rows, owners, ITEMS)


def slow_votes(everybody: dict[int, list[int]], recent: list[int], power: int) -> list[float]:
    """One sequence, one place at a time."""
    count = {item: sum(item in chosen for chosen in everybody.values()) for item in range(ITEMS)}
    newest_first = recent[::-1][:MATCHED]
    weight = {item: DECAY**age / math.log(2 + count[item]) for age, item in enumerate(newest_first)}
    votes = [0.0] * ITEMS
    for chosen in everybody.values():
        matched = {place: weight[item] for place, item in enumerate(chosen) if item in weight}
        for place, own in matched.items():
            nearby = sum(other for there, other in matched.items() if abs(there - place) <= NEARBY)
            if nearby == own:
                continue
            for distance in range(1, FOLLOWING + 1):
                if place + distance < len(chosen):
                    votes[chosen[place + distance]] += own * nearby**power / distance
    return votes


@given(people, items)
@settings(max_examples=60)
def test_votes_are_those_of_a_plain_loop(everybody: dict[int, list[int]], recent: list[int]) -> None:
    votes = build(everybody).votes(np.array(recent, dtype=np.int32), ITEMS)
    for power, row in zip(POWERS, votes, strict=True):
        np.testing.assert_allclose(row / module.VOTE_UNIT, slow_votes(everybody, recent, power), rtol=1e-4, atol=1e-5)


@given(people, st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(0, ITEMS - 1), unique=True)), max_size=12))
@settings(max_examples=60)
def test_replacing_equals_building_from_scratch(
    everybody: dict[int, list[int]], changes: list[tuple[int, list[int]]]
) -> None:
    sequences, now = build(everybody), dict(everybody)
    for user, chosen in changes:
        old = history_of(user, now.pop(user)) if user in now else empty_history()
        sequences.replace(old, history_of(user, chosen))
        if chosen:
            now[user] = chosen
    expected = build(now)
    for recent in ([0, 1, 2], [5, 3], list(range(ITEMS))):
        asked = np.array(recent, dtype=np.int32)
        assert np.array_equal(sequences.votes(asked, ITEMS), expected.votes(asked, ITEMS))  # to the last bit
    assert np.array_equal(sequences.standing(), expected.standing())
    for user, chosen in now.items():
        sequences.check(history_of(user, chosen))
        assert sequences.holds(history_of(user, chosen))


def test_many_events_of_one_user_are_appended_and_compacted() -> None:
    everybody = {user: [user, (user + 1) % ITEMS, (user + 2) % ITEMS] for user in range(10)}
    sequences = build(everybody)
    for round_ in range(200):
        user = round_ % 10
        old = everybody[user]
        everybody[user] = old[1:] + old[:1] if round_ % 3 else list(range(round_ % ITEMS + 1))
        sequences.replace(history_of(user, old), history_of(user, everybody[user]))
    assert sequences.bytes < 100_000
    asked = np.array([3, 4, 5], dtype=np.int32)
    assert np.array_equal(sequences.votes(asked, ITEMS), build(everybody).votes(asked, ITEMS))


def test_a_history_that_is_not_held_is_refused() -> None:
    sequences = build({1: [0, 1, 2]})
    for wrong in (history_of(2, [0, 1, 2]), history_of(1, [0, 1])):
        with pytest.raises(InvalidInput, match="not the one"):
            sequences.check(wrong)


def test_what_is_held_and_what_is_not() -> None:
    sequences, held = build({1: [0, 1, 2], 2: [2, 3]}), history_of(1, [0, 1, 2])
    assert sequences.holds(held)
    assert sequences.holds(empty_history())
    assert sequences.standing().tolist() == [1, 1, 2, 1] + [0] * (ITEMS - 4)
    other_item, other_number = held.copy(), held.copy()
    other_item["item"][1] = 5
    other_number["interaction"][1] += 50
    for wrong in (history_of(1, [0, 1]), history_of(3, [0]), other_item, other_number):
        assert not sequences.holds(wrong)
    layout = sequences._layout
    layout.places[1] = layout.places[1][:0]
    assert not sequences.holds(held)


def test_interaction_numbers_must_be_unique() -> None:
    rows, owners = concatenate([history_of(1, [0]), history_of(1, [1])])
    with pytest.raises(InvalidInput, match="unique"):
        Sequences(rows, owners, ITEMS)


def test_only_the_latest_places_of_a_common_item_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACES_LIMIT", 2)
    sequences = build({user: [0, 1, user + 2] for user in range(6)})
    votes = sequences.votes(np.array([0, 1], dtype=np.int32), ITEMS)
    assert np.flatnonzero(votes[0]).tolist() == [1, 6, 7]
