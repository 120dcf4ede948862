from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.catalogue.table import Catalogue
from rag_rec.domain import Attributes, Item
from rag_rec.errors import InvalidInput, UnknownItem

attribute = st.one_of(
    st.text(max_size=4),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.text(max_size=3), max_size=3).map(tuple),
)
items = st.builds(
    Item,
    id=st.sampled_from([f"item-{i}" for i in range(30)]),
    text=st.text(max_size=10),
    attributes=st.dictionaries(st.sampled_from(["year", "genres", "new", "label"]), attribute),
    provider=st.none() | st.sampled_from(["A", "B"]),
)


def numbered(listed: list[Item]) -> list[Item]:
    return list({item.id: item for item in listed}.values())


@given(listed=st.lists(items, max_size=12), data=st.data())
def test_it_holds_what_was_put_last(listed: list[Item], data: st.DataObject) -> None:
    expected = numbered(listed)
    catalogue = Catalogue.of(expected, range(len(expected)))
    tokens = list(range(len(expected)))
    for _ in range(data.draw(st.integers(0, 4)) if expected else 0):
        number = data.draw(st.integers(0, len(expected) - 1))
        replacement = data.draw(items)
        if any(item.id == replacement.id for i, item in enumerate(expected) if i != number):
            continue
        expected[number], tokens[number] = replacement, data.draw(st.integers(0, 99))
        catalogue.put(number, replacement, tokens[number])
    assert len(catalogue) == len(expected)
    assert [catalogue.item(number) for number in range(len(expected))] == expected
    assert catalogue.ids == [item.id for item in expected]
    assert catalogue.texts == [item.text for item in expected]
    assert catalogue.tokens.tolist() == tokens
    for number, item in enumerate(expected):
        assert catalogue.number_of(item.id) == number
    gone = {f"item-{i}" for i in range(30)} - {item.id for item in expected}
    assert all(catalogue.number_of(item_id) is None for item_id in gone)


def test_types_survive() -> None:
    attributes: Attributes = {"year": 1999, "score": 2.5, "new": True, "genres": ("Drama", "War"), "label": "x"}
    catalogue = Catalogue.of([Item("a", "t", attributes, "P")], [3])
    restored = catalogue.item(0).attributes
    assert {name: (type(value), value) for name, value in restored.items()} == {
        name: (type(value), value) for name, value in attributes.items()
    }
    assert catalogue.provider_of(0) == "P"


def test_every_change_gives_a_version_of_its_own() -> None:
    first, second = Catalogue(), Catalogue()
    seen = {first.version, second.version}
    for catalogue in (first, second, first):
        catalogue.put(0, Item("a", "text"), 1)
        seen.add(catalogue.version)
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("number", "item", "message"),
    [
        (3, Item("new", "text"), "the next number is 2, not 3"),
        (-1, Item("new", "text"), "the next number is 2, not -1"),
        (2, Item("a", "text"), "unique"),
        (1, Item("a", "text"), "unique"),
        (1, Item("b", "changed", {"year": float("inf")}), "finite"),
    ],
    ids=["gap", "negative", "id twice", "id of another", "not finite"],
)
def test_a_refused_item_changes_nothing(number: int, item: Item, message: str) -> None:
    originals = [Item("a", "one", {"year": 1}), Item("b", "two", {"year": 2}, "P")]
    catalogue = Catalogue.of(originals, [1, 2])
    version = catalogue.version
    with pytest.raises(InvalidInput, match=message):
        catalogue.put(number, item, 9)
    assert [catalogue.item(n) for n in range(len(catalogue))] == originals
    assert catalogue.tokens.tolist() == [1, 2]
    assert catalogue.version == version


def test_numbers_of_several_items() -> None:
    catalogue = Catalogue.of([Item("a", ""), Item("b", ""), Item("c", "")], [0, 0, 0])
    numbers = catalogue.numbers_of(["c", "a", "c"])
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [2, 0, 2]
    with pytest.raises(UnknownItem):
        catalogue.numbers_of(["a", "nope"])


def test_texts_are_searched_whatever_the_case() -> None:
    catalogue = Catalogue.of([Item("a", "Straße nach Oz"), Item("b", "The Road")], [1, 1])
    assert catalogue.with_text("strasse", 2).tolist() == [True, False]
    assert catalogue.with_text("road", 2).tolist() == [False, True]


def test_an_empty_catalogue() -> None:
    catalogue = Catalogue()
    assert len(catalogue) == 0
    assert catalogue.tokens.shape == (0,)
    assert catalogue.with_text("x", 0).shape == (0,)
