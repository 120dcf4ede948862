from __future__ import annotations

import numpy as np

from rag_rec.events.history import HISTORY_DTYPE, History
from rag_rec.index.people import People
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import InteractionIndex


def people_over(items: int = 6) -> People:
    index = FlatIndex(4)
    index.put(np.arange(items), np.random.default_rng(1).normal(size=(items, 4)).astype(np.float32))
    return People(InteractionIndex(index), FlatIndex(4))


def history(first: int, items: list[int], own_text: bool = False) -> History:
    return np.array([(first + n, item, 0, np.nan, n, own_text) for n, item in enumerate(items)], dtype=HISTORY_DTYPE)


def put(people: People, user: int, rows: History) -> None:
    own = {int(number): np.full(4, 0.5, dtype=np.float32) for number in rows["interaction"][rows["own_text"]]}
    people.put(user, rows, np.ones(len(rows), dtype=np.bool_), own)


def test_a_history_and_its_vectors_are_recalled_together() -> None:
    people = people_over()
    put(people, 3, history(10, [0, 2]))
    rows, vectors = people.recall(3)
    assert rows["item"].tolist() == [0, 2]
    assert vectors.shape == (2, 4)
    assert people.profile(3) is not None


def test_putting_an_empty_history_removes_everything() -> None:
    people = people_over()
    put(people, 3, history(10, [0, 2], own_text=True))
    assert list(people.own_vectors(3)) == [10, 11]
    put(people, 3, history(0, []))
    assert (len(people), people.profile(3), people.own_vectors(3)) == (0, None, {})
    assert len(people.recall(3)[1]) == 0


def test_what_is_removed_is_overwritten_and_what_is_added_to_is_not() -> None:
    people = people_over()
    first, second, third = history(10, [0, 1]), history(10, [0, 1, 2]), history(10, [0])
    put(people, 3, first)
    put(people, 3, second)
    assert first["item"].tolist() == [0, 1]
    put(people, 3, third)
    assert not any(second.tobytes())
    people.remove(3)
    assert not any(third.tobytes())


def test_one_user_leaves_the_others_untouched() -> None:
    people = people_over()
    put(people, 1, history(10, [0, 1]))
    put(people, 2, history(20, [1, 2]))
    before = people.recall(2)[1].tobytes(), people.profile(2)
    people.remove(1)
    assert people.recall(2)[1].tobytes() == before[0]
    assert np.array_equal(people.profile(2), before[1])  # type: ignore[arg-type]


def test_what_is_held_of_a_user_is_told() -> None:
    people = people_over()
    rows = history(10, [0, 2])
    put(people, 3, rows.copy())
    assert people.has_history(3) and people.holds(3) and not people.holds(4)
    assert people.agrees(3, rows) and people.agrees(4, history(0, []))
    assert not people.agrees(3, rows[:1])
    people.remove(3)
    assert not people.holds(3)
    people.profiles.put(np.array([3]), np.ones((1, 4), dtype=np.float32))
    assert people.holds(3)
    people.profiles.remove(np.array([3]))
    people.interactions.put(3, rows["interaction"], rows["item"], {})
    assert people.holds(3)
    assert not people.agrees(3, history(0, []))


def test_parts_that_are_not_of_the_same_people_are_unsound() -> None:
    people = people_over()
    put(people, 1, history(10, [0, 1]))
    put(people, 2, history(20, [1, 2]))
    assert people.sound()
    people.profiles.put(np.array([3]), np.ones((1, 4), dtype=np.float32))
    assert not people.sound()
    people.profiles.remove(np.array([3]))
    people.interactions.put(2, np.array([20]), np.array([1], dtype=np.int32), {})
    assert not people.sound()
    people.interactions.remove(2)
    assert not people.sound()
    people.remove(2)
    assert people.sound()
