from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rag_rec.compact.people import People
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.domain import Interaction, Item, User
from rag_rec.events.history import PositiveRule
from rag_rec.generators.item_tokens import ItemTokenEncoder
from rag_rec.generators.protocol import EvidenceLine, Prompt
from rag_rec.store import SqlStore, open_store

ITEMS = [Item(f"i{n}", f"title {n}") for n in range(6)]
ANN = User("ann", {"age": "25", "job": "potter"})
BOB = User("bob", {"age": "25"})
ROWS = [
    Interaction("ann", "i3", 30, "rating", 5.0),
    Interaction("ann", "i1", 10, "rating", 4.0),
    Interaction("ann", "i2", 20, "rating", 2.0),
    Interaction("ann", "i5", 40, "rating", 5.0),
    Interaction("bob", "i0", 10, "like"),
    Interaction("cyd", "i0", 10, "dislike"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    store.put_items(ITEMS)
    store.put_users([ANN, BOB])
    store.append(ROWS)
    yield store
    store.close()


def written(people: People, vocabulary: Vocabulary) -> list[list[int]]:
    return [[*each.prefix.tolist(), *each.items.tolist()] for each in people.sequences(vocabulary, 0.0, 0)]


def test_those_who_liked_something_are_read_oldest_first(store: SqlStore) -> None:
    people = People.read(store, PositiveRule(), items=5)
    assert [items.tolist() for _, items in people.positives] == [[1, 3], [0]]
    assert [people.users[user] for user, _ in people.positives] == [ANN, BOB]
    assert (people.epoch, people.interactions) == (store.epoch(), 3)


def test_people_are_written_as_prompts_are(store: SqlStore) -> None:
    people = People.read(store, PositiveRule(), items=6)
    vocabulary = Vocabulary.of(ITEMS, people.users.values(), least=2)
    assert vocabulary.user_attributes == ("age=25",)
    lines = [EvidenceLine(ITEMS[n].id, "rating", 10 * n) for n in (1, 3, 5)]
    prompt = Prompt(ANN, lines, [], lambda item_id: ITEMS[int(item_id[1:])])
    asked = ItemTokenEncoder(vocabulary).encode(prompt, [])
    assert written(people, vocabulary)[0] == list(asked.tokens)


def test_the_newest_item_of_those_held_out_is_missing(store: SqlStore) -> None:
    people = People.read(store, PositiveRule(), items=6)
    sequences = people.sequences(Vocabulary.of(ITEMS), 1.0, 0)
    assert [len(each.items) for each in sequences] == [2, 1]
    assert np.array_equal(sequences[0].items, Vocabulary.of(ITEMS).first_item + np.array([1, 3]))


@pytest.mark.parametrize(("held_out", "seen"), [(0.0, [3, 1]), (1.0, [2, 1])])
def test_the_lineage_says_how_much_is_learned_from_whom(store: SqlStore, held_out: float, seen: list[int]) -> None:
    people = People.read(store, PositiveRule(), items=6)
    numbers = [number for number, _ in people.positives]
    assert people.lineage(held_out, 0) == dict(zip(numbers, seen, strict=True))
    sequences = people.sequences(Vocabulary.of(ITEMS), held_out, 0)
    assert [len(each.items) for each in sequences] == seen


def test_nothing_is_learned_from_the_reserve_and_forgetting_one_moves_no_other(store: SqlStore) -> None:
    store.append([Interaction(f"p{n}", "i0", n, "like") for n in range(60)])
    everybody = People.read(store, PositiveRule(), items=6)
    apart = everybody.apart(0.3, 1)
    reserved = {number for number, _ in apart.reserve}
    assert 8 < len(reserved) < 30
    assert reserved.isdisjoint(apart.lineage(0.0, 0))
    assert sorted([*apart.positives, *apart.reserve], key=lambda each: each[0]) == list(everybody.positives)
    assert len(apart.reserved(Vocabulary.of(ITEMS))) == len(reserved)
    fewer = replace(everybody, positives=everybody.positives[5:]).apart(0.3, 1)
    assert {number for number, _ in fewer.reserve} == reserved - {number for number, _ in everybody.positives[:5]}
    assert everybody.apart(0.0, 1).positives == everybody.positives


def test_an_earlier_reading_can_be_repeated(store: SqlStore) -> None:
    first = People.read(store, PositiveRule(), items=6)
    store.append([Interaction("ann", "i4", 5, "rating", 5.0), Interaction("dee", "i1", 5, "like")])
    later, again = (People.read(store, PositiveRule(), 6, newest) for newest in (None, first.newest))
    assert again.newest == first.newest < later.newest
    assert [(user, items.tolist()) for user, items in again.positives] == [
        (user, items.tolist()) for user, items in first.positives
    ]
    assert later.interactions == first.interactions + 2


def test_everybody_is_in_one_shard_and_forgetting_one_moves_no_other(store: SqlStore) -> None:
    store.append([Interaction(f"p{n}", "i0", n, "like") for n in range(60)])
    everybody = People.read(store, PositiveRule(), items=6)
    shards = [{number for number, _ in everybody.among(place, 4, 1).positives} for place in range(4)]
    assert all(6 < len(each) < 28 for each in shards)
    assert sum(map(len, shards)) == len(set().union(*shards)) == len(everybody.positives)
    fewer = replace(everybody, positives=everybody.positives[5:])
    gone = {number for number, _ in everybody.positives[:5]}
    assert [{number for number, _ in fewer.among(place, 4, 1).positives} for place in range(4)] == [
        each - gone for each in shards
    ]


def test_an_adapter_of_shards_depends_on_its_reserve_too(store: SqlStore) -> None:
    store.append([Interaction(f"p{n}", "i0", n, "like") for n in range(60)])
    apart = People.read(store, PositiveRule(), items=6).apart(0.3, 1)
    whole = apart.lineage(1.0, 0, reserve=True)
    assert whole == apart.lineage(1.0, 0) | {number: len(items) for number, items in apart.reserve}
    assert len(whole) == 62
    assert apart.held_out(1.0, 0) == sum(len(items) > 1 for _, items in apart.positives)
