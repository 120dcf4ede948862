"""What every store does alike."""

from __future__ import annotations

import math
import re

import numpy as np
import polars as pl
import pytest

from rag_rec.domain import AttributeValue, Interaction, Item, User
from rag_rec.errors import InvalidInput, UnknownItem
from rag_rec.events.history import HISTORY_DTYPE
from rag_rec.store import SqlStore
from rag_rec.store.protocol import Store
from rag_rec.store.records import AppendResult, Change, ChangeKind, Counts, EventCount, Selection
from tests.rag_rec.store.removing import delete_interactions, delete_user

ITEMS = [Item(f"i{n}", f"title {n}", {"genres": ("a", "b"), "year": 1990 + n}, f"p{n % 2}") for n in range(5)]


def frame(rows: list[Interaction]) -> pl.DataFrame:
    names = ("user_id", "item_id", "event", "value", "text", "time")
    kinds = {"value": pl.Float64, "text": pl.String, "time": pl.Int64}
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    return pl.DataFrame(columns, schema={name: kinds.get(name, pl.String) for name in names})


def test_an_empty_store_has_epoch_zero_and_no_rows(store: Store) -> None:
    assert store.epoch() == 0
    assert store.counts() == Counts(0, 0, 0)
    assert list(store.events()) == []
    assert store.changes(0) == []
    assert list(store.items()) == []
    assert list(store.histories()) == []
    assert store.item("i0") is None
    assert store.user("u") is None


def test_a_store_has_an_id_that_stays(store: Store) -> None:
    assert re.fullmatch("[0-9a-f]{32}", store.identity())
    before = store.identity()
    store.put_items([Item("i", "t")])
    store.append([Interaction("u", "i", 1)])
    assert store.identity() == before


def test_items_are_numbered_densely_and_read_back_as_they_were(store: Store) -> None:
    assert store.put_items(ITEMS[:3]) == 3
    assert store.put_items(ITEMS[2:]) == 2
    assert store.item("i3") == (3, ITEMS[3])
    assert list(store.items()) == ITEMS
    assert list(store.items(3)) == ITEMS[3:]
    assert store.items_by_number([4, 0, 4]) == [ITEMS[4], ITEMS[0], ITEMS[4]]
    assert store.items_by_number(np.array([1, 2])) == ITEMS[1:3]  # type: ignore[arg-type]
    assert store.items_by_number([]) == []


def test_an_item_number_that_does_not_exist_is_an_unknown_item(store: Store) -> None:
    store.put_items(ITEMS)
    with pytest.raises(UnknownItem):
        store.items_by_number([0, 5])


def test_equal_items_are_left_alone_and_changed_ones_keep_their_number(store: Store) -> None:
    store.put_items(ITEMS)
    epoch = store.epoch()
    assert store.put_items([Item("i1", "title 1", {"year": 1991, "genres": ("a", "b")}, "p1")]) == 0
    assert store.epoch() == epoch
    assert store.put_items([Item("i1", "another"), ITEMS[0]]) == 1
    assert store.item("i1") == (1, Item("i1", "another"))
    assert store.changes(epoch) == [Change(epoch + 1, ChangeKind.ITEM, 1)]


def test_attribute_types_survive(store: Store) -> None:
    attributes: dict[str, AttributeValue] = {"s": "ä'\n\"", "i": 2**62, "f": 1.0, "b": True, "l": ("x", "y"), "e": ()}
    store.put_items([Item("i", "t", attributes)])
    store.put_users([User("u", attributes)])
    found = store.item("i")
    person = store.user("u")
    assert found is not None and person is not None
    for read in (found[1].attributes, person[1].attributes):
        assert read == attributes
        assert {name: type(value) for name, value in read.items()} == {
            name: type(value) for name, value in attributes.items()
        }


def test_an_integer_attribute_that_becomes_a_float_or_a_boolean_is_a_change(store: Store) -> None:
    store.put_users([User("u", {"x": 1})])
    assert store.put_users([User("u", {"x": 1.0})]) == 1
    assert store.put_users([User("u", {"x": True})]) == 1
    assert store.put_users([User("u", {"x": True})]) == 0


def test_of_several_with_one_id_the_last_counts(store: Store) -> None:
    assert store.put_items([Item("i", "first"), Item("i", "last")]) == 1
    assert store.item("i") == (0, Item("i", "last"))
    assert store.put_users([User("u", {"n": 1}), User("u", {"n": 2})]) == 1
    assert store.user("u") == (0, User("u", {"n": 2}))


def test_interactions_are_counted_by_event(store: Store) -> None:
    assert store.event_counts({"rating": 4.0}) == []
    store.put_items(ITEMS)
    rows = [("rating", 4.0), ("rating", 3.5), ("view", None), ("rating", None), ("view", 9.0)]
    store.append([Interaction("u", "i0", at, event, value) for at, (event, value) in enumerate(rows)])
    counts = store.event_counts({"rating": 4.0, "absent": 1.0})
    assert counts == [EventCount("rating", 3, 1, 1), EventCount("view", 2, 1, 0)]


def test_what_an_earlier_version_stored_as_a_rating_without_value_is_not_stored_again(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction("u", "i0", 1, "rating"), Interaction("u", "i1", 1, "rating", 5.0)])
    same = Interaction("u", "i0", 1, "interaction")
    assert store.append([same]) == AppendResult(0, 1)
    others = [Interaction("u", "i0", 2, "interaction"), Interaction("u", "i1", 1, "interaction")]
    assert store.append([same, *others]) == AppendResult(2, 1)
    number, _ = store.user("u") or (-1, None)
    assert sorted(row.interaction.event for row in store.interactions(number)) == ["interaction"] * 2 + ["rating"] * 2


def test_appending_creates_users_and_events_and_writes_one_change_per_user(store: Store) -> None:
    store.put_items(ITEMS)
    epoch = store.epoch()
    rows = [
        Interaction("b", "i1", 20, "rating", 4.5),
        Interaction("a", "i0", 10, "view"),
        Interaction("b", "i0", 10, "review", None, "fine"),
    ]
    assert store.append(rows) == AppendResult(3, 0)
    assert list(store.events()) == ["rating", "view", "review"]
    assert store.user("b") == (0, User("b"))
    assert store.user_by_number(1) == User("a")
    assert [(change.kind, change.number) for change in store.changes(epoch)] == [
        (ChangeKind.USER, 0),
        (ChangeKind.USER, 1),
    ]
    assert [stored.interaction for stored in store.interactions(0)] == [rows[2], rows[0]]


def test_a_history_is_sorted_by_time_then_number(store: Store) -> None:
    store.put_items(ITEMS)
    times = [30, 10, 20, 10, 10]
    store.append([Interaction("u", f"i{4 - n}", time, "rating", n / 2) for n, time in enumerate(times)])
    history = store.history(0)
    assert history.dtype == HISTORY_DTYPE
    assert history["time"].tolist() == [10, 10, 10, 20, 30]
    assert history["item"].tolist() == [3, 1, 0, 2, 4]
    assert np.all(np.diff(history["interaction"])[:2] > 0)
    assert history["own_text"].tolist() == [False] * 5
    assert [stored.number for stored in store.interactions(0)] == history["interaction"].tolist()


def test_a_missing_value_is_nan_in_a_history_and_none_in_full(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction("u", "i0", 5, "view", None, "words")])
    history = store.history(0)
    assert math.isnan(history["value"][0])
    assert bool(history["own_text"][0])
    assert store.interactions(0)[0].interaction.value is None


def test_unknown_numbers_have_empty_histories(store: Store) -> None:
    assert len(store.history(17)) == 0
    assert store.history(17).dtype == HISTORY_DTYPE
    assert store.interactions(17) == []
    assert store.user_by_number(17) is None
    assert store.select(17, Selection()) == []


def test_duplicates_are_counted_and_change_nothing(store: Store) -> None:
    store.put_items(ITEMS)
    row = Interaction("u", "i0", 5, "rating", 3.0)
    again = Interaction("u", "i0", 5, "rating", 1.0, "other")
    assert store.append([row, again]) == AppendResult(1, 1)
    epoch = store.epoch()
    assert store.append([again, row]) == AppendResult(0, 2)
    assert store.append_frame(frame([row])) == AppendResult(0, 1)
    assert store.epoch() == epoch
    assert [stored.interaction for stored in store.interactions(0)] == [row]


def test_only_users_with_a_new_interaction_have_changed(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction(user, "i0", 5) for user in "abc"])
    epoch = store.epoch()
    rows = [Interaction("a", "i0", 5), Interaction("b", "i1", 5), Interaction("c", "i0", 5)]
    assert store.append(rows) == AppendResult(1, 2)
    assert [change.number for change in store.changes(epoch)] == [1]


def test_nothing_appended_changes_nothing(store: Store) -> None:
    assert store.append([]) == AppendResult(0, 0)
    assert store.append_frame(frame([])) == AppendResult(0, 0)
    assert store.put_items([]) == 0
    assert store.put_users([]) == 0
    assert store.epoch() == 0


def test_a_frame_and_single_interactions_give_the_same(store: Store) -> None:
    store.put_items(ITEMS)
    rows = [Interaction(f"u{n % 3}", f"i{n % 5}", 7 * n, "rating", n / 2, "t" if n % 2 else None) for n in range(40)]
    assert store.append_frame(frame(rows)) == AppendResult(40, 0)
    assert store.append(rows) == AppendResult(0, 40)
    assert [stored.interaction for stored in store.interactions(1)] == rows[1::3]


def test_an_unknown_item_is_named_and_nothing_is_written(store: Store) -> None:
    store.put_items(ITEMS)
    epoch = store.epoch()
    with pytest.raises(UnknownItem):
        store.append([Interaction("new", "i0", 1), Interaction("new", "nowhere", 2)])
    assert store.epoch() == epoch
    assert store.counts() == Counts(0, 5, 0)
    assert list(store.events()) == []


@pytest.mark.parametrize(
    "bad",
    [
        Interaction("", "i0", 1),
        Interaction("  ", "i0", 1),
        Interaction("u\x00", "i0", 1),
        Interaction("u" * 257, "i0", 1),
        Interaction("u", "i0", -1),
        Interaction("u", "i0", 2**63),
        Interaction("u", "i0", 1, "rating", math.nan),
        Interaction("u", "i0", 1, "rating", math.inf),
        Interaction("u", "i0", 1, "rating", 1e300),
        Interaction("u", "i0", 1, "rating", 1.0, "x" * 20_001),
        Interaction("u", "i0", 1, "rating", 1.0, "bell \x07"),
        Interaction("u", "i0", 1, ""),
        Interaction("u", "i0", 1, "e\n"),
        Interaction("u\ud800", "i0", 1),
    ],
)
def test_an_interaction_that_cannot_be_stored_changes_nothing(store: Store, bad: Interaction) -> None:
    store.put_items(ITEMS)
    epoch = store.epoch()
    with pytest.raises(InvalidInput):
        store.append([Interaction("good", "i0", 1), bad])
    assert store.epoch() == epoch
    assert store.counts() == Counts(0, 5, 0)


@pytest.mark.parametrize(
    "bad",
    [
        Item("", "t"),
        Item("i\x1b", "t"),
        Item("i", "t\x00"),
        Item("i", "t" * 20_001),
        Item("i", "t", {"": 1}),
        Item("i", "t", {"x": math.nan}),
        Item("i", "t", {"x": 2**63}),
        Item("i", "t", {"x": None}),  # type: ignore[dict-item]
        Item("i", "t", {"x": ["a"]}),  # type: ignore[dict-item]
        Item("i", "t", {"x": ("a", 1)}),  # type: ignore[dict-item]
        Item("i", "t", {}, ""),
    ],
)
def test_an_item_that_cannot_be_stored_changes_nothing(store: Store, bad: Item) -> None:
    with pytest.raises(InvalidInput):
        store.put_items([Item("good", "t"), bad])
    assert store.counts() == Counts(0, 0, 0)
    assert store.epoch() == 0


def test_a_user_that_cannot_be_stored_changes_nothing(store: Store) -> None:
    with pytest.raises(InvalidInput):
        store.put_users([User("good"), User("bad\n")])
    with pytest.raises(InvalidInput):
        store.put_users([User("good"), User("bad", {"x": math.inf})])
    assert store.counts() == Counts(0, 0, 0)


def test_a_selection_joins_its_conditions_by_and(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction("u", f"i{n % 2}", 10 * n) for n in range(6)])
    numbers = store.history(0)["interaction"].tolist()
    assert store.select(0, Selection()) == numbers
    assert store.select(0, Selection(before=20)) == numbers[:2]
    assert store.select(0, Selection(after=20)) == numbers[2:]
    assert store.select(0, Selection(frozenset({"i1"}), before=50, after=10)) == [numbers[1], numbers[3]]
    assert store.select(0, Selection(frozenset({"i4", "unheard of"}))) == []
    chosen = frozenset({numbers[4], numbers[1], 999})
    assert store.select(0, Selection(numbers=chosen)) == [numbers[1], numbers[4]]
    assert store.select(0, Selection(before=30, numbers=chosen)) == [numbers[1]]


def test_deleting_a_user_takes_everything_of_theirs_and_nobody_elses(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction(user, f"i{n}", n) for user in ("a", "b") for n in range(4)])
    epoch = store.epoch()
    assert delete_user(store, 0) == Counts(1, 0, 4)
    assert store.user("a") is None
    assert len(store.history(0)) == 0
    assert len(store.history(1)) == 4
    assert store.changes(epoch) == [Change(epoch + 1, ChangeKind.FORGET, 0)]
    assert delete_user(store, 0) == Counts(0, 0, 0)
    assert store.epoch() == epoch + 1
    store.scrub()
    assert store.counts() == Counts(1, 5, 4)


def test_numbers_of_the_forgotten_are_never_used_again(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction("a", "i0", 1), Interaction("b", "i0", 1)])
    highest = int(store.history(1)["interaction"][0])
    delete_user(store, 1)
    store.append([Interaction("b", "i0", 1)])
    found = store.user("b")
    assert found is not None and found[0] == 2
    assert store.history(2)["interaction"][0] > highest


def test_deleting_some_interactions_leaves_the_rest_and_the_user(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction(user, f"i{n}", n) for user in ("a", "b") for n in range(4)])
    mine, theirs = (store.history(user)["interaction"].tolist() for user in (0, 1))
    epoch = store.epoch()
    assert delete_interactions(store, 0, [mine[1], mine[3], theirs[0], 999]) == 2
    assert store.history(0)["interaction"].tolist() == [mine[0], mine[2]]
    assert store.history(1)["interaction"].tolist() == theirs
    assert [(change.kind, change.number) for change in store.changes(epoch)] == [(ChangeKind.FORGET, 0)]
    assert delete_interactions(store, 0, [mine[1]]) == 0
    assert delete_interactions(store, 0, []) == 0
    assert store.epoch() == epoch + 1
    assert store.user("a") is not None


def test_chosen_interactions_by_number(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction("u", f"i{n}", n) for n in range(4)])
    numbers = store.history(0)["interaction"]
    chosen = store.interactions(0, [int(numbers[2]), int(numbers[0])])
    assert [stored.interaction.item_id for stored in chosen] == ["i0", "i2"]
    assert store.interactions(0, []) == []


def test_histories_are_those_of_every_user_in_order(store: Store) -> None:
    store.put_items(ITEMS)
    store.append([Interaction(f"u{n % 7}", f"i{n % 5}", n) for n in range(200)])
    store.put_users([User("silent")])
    streamed = list(store.histories())
    assert [user for user, _ in streamed] == list(range(7))
    for user, history in streamed:
        assert history.tobytes() == store.history(user).tobytes()


def test_nobody_can_be_removed_without_a_request(sql_store: SqlStore) -> None:
    """What is deleted leaves a ledger entry, a suppression and a receipt: the one way is to accept a request."""
    named = [name for owner in (sql_store, Store) for name in dir(owner) if not name.startswith("_")]
    assert not [name for name in named if name.startswith(("delete", "remove"))]
