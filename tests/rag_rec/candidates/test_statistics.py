from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.candidates.gram_inverse import PENDING_LIMIT
from rag_rec.candidates.lagged_pairs import LAG_UNIT, WINDOW
from rag_rec.candidates.statistics import TRANSITIONS, Statistics
from rag_rec.errors import InvalidInput
from rag_rec.events.history import HISTORY_DTYPE, History, empty_history

ITEMS = 15
USERS = 6
both = pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
chosen = st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=ITEMS)
log = st.lists(st.tuples(st.integers(0, USERS - 1), chosen), max_size=14)  # user and their new history, in order
Log = list[tuple[int, list[int]]]
People = dict[int, list[int]]


def history_of(user: int, items: list[int]) -> History:
    history = np.zeros(len(items), dtype=HISTORY_DTYPE)
    history["item"] = items
    history["interaction"] = 100 * user + np.arange(len(items))
    history["time"] = (np.arange(len(items)) * 9 + user) * 24 * 3600 * 1000
    return history


def build(people: People, *, dense: bool, n_items: int = ITEMS) -> Statistics:
    histories = ((user, history_of(user, items)) for user, items in people.items())
    return Statistics.build(histories, n_items, dense=dense)


def play(statistics: Statistics, changes: Log) -> People:
    """Lead statistics that know nobody through a log. Returns what the histories are in the end."""
    people: People = {}
    for user, items in changes:
        statistics.replace(history_of(user, people.get(user, [])), history_of(user, items))
        people[user] = items
    return people


@both
@given(log)
@settings(max_examples=50)
def test_replacing_leaves_exactly_what_building_gives(dense: bool, changes: Log) -> None:
    statistics = build({}, dense=dense)
    people = play(statistics, changes)
    assert statistics.equal(build(people, dense=dense))


@both
@given(log, st.integers(0, USERS - 1))
@settings(max_examples=50)
def test_the_forgotten_might_never_have_been(dense: bool, changes: Log, gone: int) -> None:
    statistics = build({}, dense=dense)
    people = play(statistics, changes)
    statistics.forget(history_of(gone, people.pop(gone, [])))
    twin = build(people, dense=dense)
    assert statistics.equal(twin)
    if statistics.inverse is not None and twin.inverse is not None:
        statistics.flush()
        difference = np.abs(statistics.inverse.matrix - twin.inverse.matrix).max()
        assert difference <= 1e-9 * np.abs(twin.inverse.matrix).max()


@given(log)
@settings(max_examples=30)
def test_dense_and_sparse_hold_the_same_integers(changes: Log) -> None:
    dense, sparse = build({}, dense=True), build({}, dense=False)
    play(dense, changes)
    play(sparse, changes)
    assert dense.equal(sparse)
    assert (dense.dense, sparse.dense) == (True, False)


@both
@given(st.dictionaries(st.integers(0, USERS - 1), chosen))
@settings(max_examples=30)
def test_counts_are_those_of_plain_loops(dense: bool, people: People) -> None:
    exported = build(people, dense=dense).export()
    expected = {name: np.zeros((ITEMS, ITEMS)) for name in ("together", "followed", "next", "after")}
    for items in people.values():
        for earlier, first in enumerate(items):
            for later, second in enumerate(items):
                expected["together"][first, second] += 1
                if 1 <= later - earlier <= WINDOW:
                    expected["followed"][first, second] += LAG_UNIT // (later - earlier)
                    expected["next"][first, second] += later - earlier == 1
                    expected["after"][first, second] += 1
    opposite = {"preceded": "followed", "previous": "next", "before": "after"}
    expected |= {name: expected[other].T for name, other in opposite.items()}
    for name, matrix in expected.items():
        found = np.zeros((ITEMS, ITEMS))
        rows, columns, values = exported[name]
        found[rows, columns] = values
        np.testing.assert_array_equal(found, matrix, err_msg=name)


@both
def test_growing_equals_building_with_more_items(dense: bool) -> None:
    people = {1: [0, 3, 5], 2: [3, 5, 7, 9]}
    statistics = build(people, dense=dense)
    statistics.grow(ITEMS + 2)
    statistics.replace(empty_history(), history_of(3, [ITEMS + 1, 3, 0]))
    assert statistics.n_items == ITEMS + 2
    assert statistics.equal(build({**people, 3: [ITEMS + 1, 3, 0]}, dense=dense, n_items=ITEMS + 2))


def test_joining_waits_for_a_block_and_leaving_does_not() -> None:
    statistics = build({user: [user % ITEMS, (user + 4) % ITEMS] for user in range(5)}, dense=True)
    assert statistics.inverse is not None
    before = statistics.inverse.matrix
    statistics.replace(empty_history(), history_of(50, [1, 2, 3]))
    statistics.settle()
    assert statistics.inverse.matrix is before
    assert statistics.inverse.pending == 1
    statistics.forget(history_of(0, [0, 4]))
    assert statistics.inverse.pending == 0
    for user in range(60, 60 + PENDING_LIMIT):
        assert statistics.inverse.pending == user - 60
        statistics.replace(empty_history(), history_of(user, list(np.flatnonzero([int(b) for b in f"{user:07b}"]))))
        statistics.settle()
    assert statistics.inverse.pending == 0


def test_a_group_that_leaves_is_folded_in_once() -> None:
    people = {user: [user % ITEMS, (user + 4) % ITEMS] for user in range(ITEMS)}
    statistics = build(people, dense=True)
    assert statistics.inverse is not None
    before = statistics.inverse.matrix
    for user in range(5):
        statistics.replace(history_of(user, people.pop(user)), empty_history())
    assert statistics.inverse.matrix is before
    statistics.settle()
    settled = statistics.inverse.matrix
    statistics.settle()
    assert statistics.inverse.matrix is settled
    np.testing.assert_allclose(settled, inverse_of(build(people, dense=True)), rtol=0, atol=1e-15)


def inverse_of(statistics: Statistics) -> np.ndarray:
    assert statistics.inverse is not None
    return statistics.inverse.matrix


@both
def test_a_prepared_removal_gives_what_an_unprepared_one_gives(dense: bool) -> None:
    people = {user: [user % ITEMS, (user + 4) % ITEMS, (user + 7) % ITEMS] for user in range(5)}
    prepared, plain = build(people, dense=dense), build(people, dense=dense)
    old, new = history_of(2, people[2]), history_of(2, people[2][:1])
    prepared.prepare(old, new)
    for statistics in (prepared, plain):
        statistics.replace(old, new)
        statistics.settle()
    assert prepared.equal(plain)
    if dense:
        assert np.array_equal(inverse_of(prepared), inverse_of(plain))
    prepared.prepare(new, empty_history())
    prepared.discard()
    prepared.forget(new)
    assert prepared.equal(build({user: items for user, items in people.items() if user != 2}, dense=dense))


PEOPLE = {1: [0, 3, 5, 6], 2: [3, 5, 7, 9], 3: [1], 4: list(range(ITEMS))}


class TestSoundness:
    def lengths(self, *gone: int) -> np.ndarray:
        return np.array([len(items) for user, items in PEOPLE.items() if user not in gone], dtype=np.int64)

    @both
    @given(log)
    @settings(max_examples=30)
    def test_what_was_added_and_subtracted_adds_up(self, dense: bool, changes: Log) -> None:
        statistics = build({}, dense=dense)
        people = play(statistics, changes)
        statistics.settle()
        lengths = np.array([len(items) for items in people.values() if items], dtype=np.int64)
        assert statistics.sound(lengths)
        assert not statistics.sound(np.append(lengths, 1))

    @both
    def test_growing_leaves_it_sound(self, dense: bool) -> None:
        statistics = build(PEOPLE, dense=dense)
        statistics.grow(ITEMS + 70)
        statistics.forget(history_of(1, PEOPLE[1]))
        assert statistics.sound(self.lengths(1))

    @pytest.mark.parametrize(
        "skipped",
        [
            "rag_rec.candidates.statistics.Statistics._replace_pairs",
            "rag_rec.candidates.statistics.Statistics._replace_cooccurrence",
            "rag_rec.candidates.popularity.Popularity.change",
            "rag_rec.candidates.sequences.Sequences.replace",
        ],
    )
    @both
    def test_a_count_that_was_left_out_is_noticed(
        self, dense: bool, skipped: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statistics = build(PEOPLE, dense=dense)
        monkeypatch.setattr(skipped, lambda *_: None)
        statistics.forget(history_of(2, PEOPLE[2]))
        assert not statistics.sound(self.lengths(2))

    @pytest.mark.parametrize("name", ["together", *TRANSITIONS])
    @both
    def test_a_matrix_that_was_left_out_is_noticed(
        self, dense: bool, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statistics = build(PEOPLE, dense=dense)
        matrix = statistics.together if name == "together" else statistics.transitions[name]
        monkeypatch.setattr(matrix, "add_block" if name == "together" else "add", lambda *_: None)
        statistics.forget(history_of(2, PEOPLE[2]))
        assert not statistics.sound(self.lengths(2))

    @pytest.mark.parametrize("skipped", ["change", "flush"])
    def test_an_inverse_that_was_left_out_is_noticed(self, skipped: str, monkeypatch: pytest.MonkeyPatch) -> None:
        statistics = build(PEOPLE, dense=True)
        monkeypatch.setattr(statistics.inverse, skipped, lambda *_: None)
        statistics.forget(history_of(2, PEOPLE[2]))
        assert not statistics.sound(self.lengths(2))


@both
def test_bad_histories_change_nothing(dense: bool) -> None:
    statistics, twin = build({1: [0, 1, 2]}, dense=dense), build({1: [0, 1, 2]}, dense=dense)
    for old, new in (
        (history_of(1, [0, 1, 2]), history_of(1, [0, ITEMS])),
        (history_of(1, [0, 1]), history_of(1, [0, 1, 2, 3])),
        (history_of(2, [4]), empty_history()),
    ):
        with pytest.raises(InvalidInput):
            statistics.replace(old, new)
    assert statistics.equal(twin)
    with pytest.raises(InvalidInput, match="not in the catalogue"):
        build({1: [ITEMS]}, dense=dense)


def test_memory_is_reported() -> None:
    assert build({1: [0, 1]}, dense=True).bytes > build({1: [0, 1]}, dense=False).bytes > 0
