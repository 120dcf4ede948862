from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_rec.layers.finding import FINAL, LayerName, Status, is_complete

HELD = [layer for layer in LayerName if layer.holds_back]
ALL = [(layer.value, Status.PROVEN.value) for layer in LayerName]


@given(
    st.lists(st.sampled_from(sorted(FINAL)), min_size=len(LayerName), max_size=len(LayerName)),
    st.permutations(list(LayerName)),
)
def test_every_layer_once_and_none_open_is_complete(statuses: list[Status], layers: list[LayerName]) -> None:
    assert is_complete(zip(layers, statuses, strict=True))


def test_plain_text_counts_like_the_names() -> None:
    assert is_complete(ALL)


def test_nothing_said_is_not_complete() -> None:
    assert not is_complete([])


@pytest.mark.parametrize("place", range(len(HELD)), ids=HELD)
def test_a_layer_that_was_skipped_is_not_complete(place: int) -> None:
    assert not is_complete(ALL[:place] + ALL[place + 1 :])


@pytest.mark.parametrize("place", range(len(HELD)), ids=HELD)
@pytest.mark.parametrize("status", [Status.PENDING, "UNKNOWN", "", "proven", "PROVEN "])
def test_a_layer_that_is_open_or_unknown_is_not_complete(place: int, status: str) -> None:
    changed = [*ALL[:place], (ALL[place][0], status), *ALL[place + 1 :]]
    assert not is_complete(changed)


@pytest.mark.parametrize("place", range(len(HELD)), ids=HELD)
def test_a_layer_named_twice_or_by_another_name_is_not_complete(place: int) -> None:
    twice = [*ALL, ALL[place]]
    instead = [*ALL[:place], ALL[place - 1], *ALL[place + 1 :]]
    renamed = [*ALL[:place], ("elsewhere", Status.PROVEN), *ALL[place + 1 :]]
    assert not is_complete(twice)
    assert not is_complete(instead)
    assert not is_complete(renamed)


def test_a_layer_beyond_these_holds_back_until_it_is_final() -> None:
    assert is_complete([*ALL, ("elsewhere", Status.PROVEN)])
    for status in (Status.PENDING, "FINE"):
        assert not is_complete([*ALL, ("elsewhere", status)])
    assert not is_complete([*ALL, ("elsewhere", Status.PROVEN), ("elsewhere", Status.PROVEN)])


def test_pending_alone_leaves_a_layer_open() -> None:
    assert set(Status) - FINAL == {Status.PENDING}


def test_freed_memory_may_be_pending_or_missing_but_not_unknown_or_there_twice() -> None:
    freed, others = LayerName.FREED.value, ALL[: len(HELD)]
    assert is_complete(others)
    assert all(is_complete([*others, (freed, status)]) for status in Status)
    assert not is_complete([*others, (freed, "FINE")])
    assert not is_complete([*others, (freed, Status.PROVEN), (freed, Status.PROVEN)])
