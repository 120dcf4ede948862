from __future__ import annotations

from rag_rec.presence import awaited as module
from rag_rec.presence.awaited import EXPIRY_MS, adapters_elsewhere, awaited, is_open, named, unseen, wait_for_open
from rag_rec.store.records import Place
from tests.rag_rec.store.reference import ReferenceStore

import pytest  # isort: skip

NOW = 1_800_000_000_000


def place(name: str, epoch: int = 0, seen: int = 0, retired: int | None = None, *adapters: str) -> Place:
    return Place(name, "host/ab", f"/data/{name}", epoch, seen, adapters, retired, None if retired is None else "gone")


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "now_ms", lambda: NOW)


def test_places_that_have_not_looked_since_are_awaited_but_for_the_own_one() -> None:
    places = [place("own"), place("behind", 4), place("there", 5), place("gone", 1, 0, 9)]
    assert [each.id for each in awaited(places, 5, "own")] == ["behind"]
    assert [each.id for each in awaited(places, 5, None)] == ["own", "behind"]


def test_retired_places_are_named_for_requests_from_before() -> None:
    places = [place("gone", 4, 0, 9), place("clean", 5, 0, 9), place("there", 4)]
    assert [each.id for each in unseen(places, 5, 9)] == ["gone"]
    assert unseen(places, 5, 10) == []


def test_a_place_is_open_as_long_as_it_was_heard_of_lately() -> None:
    assert is_open(place("p", 0, NOW - EXPIRY_MS))
    assert not is_open(place("p", 0, NOW - EXPIRY_MS - 1))
    assert not is_open(place("p", 0, NOW, 9))


def test_open_places_are_waited_for_and_others_not() -> None:
    store = ReferenceStore()
    store.put_place(place("down", 1))
    waited: list[float] = []
    wait_for_open(store, 5, None, 10_000, waited.append)
    assert waited == []
    store.put_place(place("open", 1, NOW))

    def clean(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            store.put_place(place("open", 5, NOW))

    wait_for_open(store, 5, None, 10_000, clean)
    assert len(waited) == 3
    wait_for_open(store, 6, None, 100, waited.append)
    assert len(waited) == 8  # not for longer than they are given


def test_adapters_of_other_places() -> None:
    store = ReferenceStore()
    for each in (place("own", 0, 0, None, "a"), place("two", 0, 0, None, "b"), place("gone", 0, 0, 9, "c")):
        store.put_place(each)
    assert adapters_elsewhere(store, "own") == {"b"}
    assert adapters_elsewhere(store, None) == {"a", "b"}


def test_a_sentence_names_a_few() -> None:
    assert named([place("one")]) == "host:one"
    assert named([place(f"p{n}") for n in range(7)]).endswith("host:p4 and 2 more")
