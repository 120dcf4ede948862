from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag_rec.domain import Interaction, Item
from rag_rec.engine.engine import Engine
from rag_rec.errors import CorruptIndex
from rag_rec.index.people import People
from rag_rec.index.shards import read_shard, shard_of, write_shard
from rag_rec.layers.records import ForgetState
from rag_rec.proof import index_people
from rag_rec.proof.table import compare
from rag_rec.proof.twin import Twin, build_twin
from tests.homes import ITEMS
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import DAY, number_of
from tests.rag_rec.proof.comparing import some_user, unequal
from tests.rag_rec.store.removing import delete_user

Change = Callable[[People, int], None]


def with_another_value(people: People, user: int) -> None:
    people.history(user)["value"][0] = 0.25


def without(people: People, user: int) -> None:
    people.remove(user)


def without_own_vectors(people: People, user: int) -> None:
    history = people.history(user)
    people.interactions.put(user, history["interaction"], history["item"], {})


def with_another_profile(people: People, user: int) -> None:
    profile = people.profile(user)
    assert profile is not None
    people.profiles.put(np.array([user]), -profile[None])


def with_a_stranger(people: People, user: int) -> None:
    people.adopt(64 * 1_000 + user, people.history(user).copy())


def with_a_stranger_s_profile(people: People, user: int) -> None:
    people.profiles.put(np.array([64 * 1_000 + user]), np.ones((1, 32), dtype=np.float32))


CHANGES: list[Change] = [
    with_another_value,
    without,
    without_own_vectors,
    with_another_profile,
    with_a_stranger,
    with_a_stranger_s_profile,
]


def plant_in_files(monkeypatch: pytest.MonkeyPatch, user: int, change: Change) -> None:
    """Let the files seem to hold something else of a user's shard."""

    def changed(folder: Path, shard: int, items: Any) -> People:
        people = read_shard(folder, shard, items)
        if shard == shard_of(user):
            change(people, user)
        return people

    monkeypatch.setattr(index_people, "read_shard", changed)


@pytest.mark.parametrize("change", CHANGES)
def test_every_difference_of_the_files_is_found(
    engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    plant_in_files(monkeypatch, number_of(engine.store, "more-1"), change)
    found = compare(engine.live, twin)
    assert unequal(found) == {"index files"}
    assert [row.different for row in found.rows if row.check == "index files"] == [1]


def test_a_difference_on_the_disk_is_found(engine: Engine, twin: Twin) -> None:
    user, folder = some_user(engine), engine.current.generations.current().folder
    people = read_shard(folder, shard_of(user), engine.live.items.rows())
    with_another_value(people, user)
    write_shard(folder, shard_of(user), people)
    assert unequal(compare(engine.live, twin)) == {"index files"}


@pytest.mark.parametrize(("change", "found"), [(without, set()), (with_another_value, set())])
def test_who_has_changed_since_may_be_in_a_file_or_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, change: Change, found: set[str]
) -> None:
    engine.add_interactions("more-1", [Interaction("more-1", ITEMS[7].id, 300 * DAY, "like")])
    twin = build_twin(engine.live, engine.store, engine.settings, engine.embedder)
    plant_in_files(monkeypatch, number_of(engine.store, "more-1"), change)
    assert unequal(compare(engine.live, twin)) == found


def with_a_row_more(people: People, user: int) -> None:
    history = np.concatenate([people.history(user)] * 2)
    history["interaction"][-1] += 10_000
    people.adopt(user, history)


def test_a_row_that_the_store_does_not_have_is_found_whoever_has_changed_since(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.add_interactions("more-1", [Interaction("more-1", ITEMS[7].id, 300 * DAY, "like")])
    twin = build_twin(engine.live, engine.store, engine.settings, engine.embedder)
    plant_in_files(monkeypatch, number_of(engine.store, "more-1"), with_a_row_more)
    assert unequal(compare(engine.live, twin)) == {"index files"}


def test_a_forgotten_person_in_a_file_is_found(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    user = number_of(engine.store, "more-1")
    forget(engine.officer, "more-1")
    twin = build_twin(engine.live, engine.store, engine.settings, engine.embedder)
    kept = np.zeros(1, dtype=engine.live.people.history(0).dtype)
    plant_in_files(monkeypatch, user, lambda people, number: people.adopt(number, kept))
    assert unequal(compare(engine.live, twin)) == {"index files"}


def test_a_profile_in_a_file_may_be_of_an_older_text(engine: Engine) -> None:
    engine.put_item(Item(ITEMS[2].id, "nothing of what it was before"))
    twin = build_twin(engine.live, engine.store, engine.settings, engine.embedder)
    assert compare(engine.live, twin).equal


def test_a_removal_that_has_not_reached_the_files_is_no_difference(
    engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another request has been accepted, and its files are about to be rewritten."""
    other = number_of(engine.store, "more-2")
    pending = [record_of(engine, other)]
    monkeypatch.setattr(engine.store, "forget_records", lambda **_: pending)
    delete_user(engine.store, other)
    assert compare(engine.live, twin).equal
    pending.clear()
    assert unequal(compare(engine.live, twin)) == {"index files"}


def record_of(engine: Engine, user: int) -> Any:
    record = engine.store.forget_records()[0]
    return replace(record, user_number=user, state=ForgetState.HIDDEN)


def test_a_shard_is_read_again_when_the_generation_has_been_replaced(
    engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal takes a person out of memory, and moves the pointer, while the old files are looked at."""
    user, times = number_of(engine.store, "more-2"), []

    def late(folder: Path, shard: int, items: Any) -> People:
        people = read_shard(folder, shard, items)
        if shard == shard_of(user):
            times.append(folder)
            if len(times) == 1:
                forget(engine.officer, "more-2")
                twin.live.follow()
        return people

    monkeypatch.setattr(index_people, "read_shard", late)
    assert compare(engine.live, twin).equal
    assert len(times) == 2
    assert times[0] != times[1]


def test_files_that_vanish_while_they_are_read_are_read_again(
    engine: Engine, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[int] = []

    def vanished_once(folder: Path, shard: int, items: Any) -> People:
        times.append(shard)
        if len(times) == 1:
            forget(engine.officer, "more-2")
            raise CorruptIndex("gone")
        return read_shard(folder, shard, items)

    monkeypatch.setattr(index_people, "read_shard", vanished_once)
    assert compare(engine.live, twin).equal
    assert times[:2] == [0, 0]


def test_damaged_files_are_an_error(engine: Engine, twin: Twin) -> None:
    folder = engine.current.generations.current().folder
    (folder / "profiles" / "07.safetensors").unlink()
    with pytest.raises(CorruptIndex):
        compare(engine.live, twin)
