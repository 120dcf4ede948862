"""The index of interactions by user, next to a brute-force reference that passes the same contract."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.errors import InvalidInput
from rag_rec.vectors.flat import FlatIndex
from rag_rec.vectors.interactions import InteractionIndex, ItemVectors
from rag_rec.vectors.protocol import InteractionVectors, Vectors
from tests.rag_rec.vectors.reference import ReferenceInteractions

DIMENSION = 8
ITEMS = 12
Factory = Callable[[ItemVectors], InteractionVectors]


def vectors_of(count: int, seed: int) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, DIMENSION)).astype(np.float32)


def item_index() -> FlatIndex:
    items = FlatIndex(DIMENSION)
    items.put(np.arange(ITEMS), vectors_of(ITEMS, 0))
    return items


@pytest.fixture(params=[InteractionIndex, ReferenceInteractions])
def factory(request: pytest.FixtureRequest) -> Factory:
    return request.param  # type: ignore[no-any-return]


def put_user(index: InteractionVectors, user: int, count: int = 6, own: tuple[int, ...] = (1, 4)) -> None:
    """User ``u`` has interactions 100 u, 100 u + 1, ... newest number first; those at ``own`` have their own text."""
    numbers = 100 * user + np.arange(count)[::-1]
    items = (numbers % ITEMS).astype(np.int32)
    index.put(user, numbers, items, {100 * user + place: vectors_of(1, 100 * user + place)[0] for place in own})


class TestContract:
    def test_unknown_users_have_nothing(self, factory: Factory) -> None:
        index = factory(item_index())
        assert len(index) == 0 and not len(index.users()) and not len(index.interactions(1))
        assert index.vectors(1).shape == (0, DIMENSION)
        assert (index.search(1, vectors_of(1, 1), 3)[0] == -1).all()
        assert index.remove(1) == 0

    def test_lists_keep_their_order(self, factory: Factory) -> None:
        index = factory(item_index())
        put_user(index, 2)
        np.testing.assert_array_equal(index.interactions(2), [205, 204, 203, 202, 201, 200])
        assert len(index) == 6 and list(index.users()) == [2]

    def test_an_interaction_has_its_items_vector_unless_it_has_its_own(self, factory: Factory) -> None:
        items = item_index()
        index = factory(items)
        put_user(index, 2)
        expected = items.vectors(np.array([205, 204, 203, 202, 201, 200]) % ITEMS)
        for row, number in ((1, 204), (4, 201)):
            expected[row] = vectors_of(1, number)[0].astype(np.float16)
        np.testing.assert_array_equal(index.vectors(2), expected)

    def test_put_replaces_the_whole_list(self, factory: Factory) -> None:
        index = factory(item_index())
        put_user(index, 2)
        put_user(index, 2, count=2, own=())
        np.testing.assert_array_equal(index.interactions(2), [201, 200])
        put_user(index, 2, count=0, own=())
        assert not len(index.users())

    def test_a_search_sees_one_user_only(self, factory: Factory) -> None:
        index = factory(item_index())
        for user in range(4):
            put_user(index, user)
        numbers, scores = index.search(2, vectors_of(3, 9), 50)
        assert {int(number) for number in numbers.ravel()} == {*range(200, 206), -1}
        assert (np.isfinite(scores) == (numbers >= 0)).all()

    def test_ties_go_by_ascending_number(self, factory: Factory) -> None:
        items = item_index()
        index = factory(items)
        same = items.vectors(np.array([3]))[0]
        index.put(1, np.array([9, 7, 8, 2]), np.array([3, 3, 5, 3], dtype=np.int32), {8: same})
        numbers, scores = index.search(1, same[None], 3)
        np.testing.assert_array_equal(numbers[0], [2, 7, 8])
        assert len(set(scores[0].tolist())) == 1

    def test_removing_one_user_leaves_the_others(self, factory: Factory) -> None:
        index = factory(item_index())
        for user in range(4):
            put_user(index, user)
        before = index.vectors(3)
        assert index.remove(2) == 6
        assert list(index.users()) == [0, 1, 3] and len(index) == 18
        np.testing.assert_array_equal(index.vectors(3), before)


lists = st.lists(st.tuples(st.integers(0, ITEMS - 1), st.booleans()), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), lists, st.integers(0, 9)), max_size=12), st.integers(1, 10))
def test_any_sequence_of_operations_agrees_with_the_reference(
    steps: list[tuple[int, list[tuple[int, bool]], int]], k: int
) -> None:
    items = item_index()
    index, reference = InteractionIndex(items), ReferenceInteractions(items)
    for user, rows, seed in steps:
        numbers = np.random.default_rng(seed).permutation(len(rows)) + 100 * user
        own = {int(n): vectors_of(1, seed + 7)[0] for n, (_, has) in zip(numbers, rows, strict=True) if has}
        chosen = np.array([item for item, _ in rows], dtype=np.int32)
        for held in (index, reference):
            held.put(user, numbers, chosen, own)
    assert len(index) == len(reference)
    np.testing.assert_array_equal(index.users(), reference.users())
    for user in range(4):
        np.testing.assert_array_equal(index.interactions(user), reference.interactions(user))
        np.testing.assert_array_equal(index.vectors(user), reference.vectors(user))
        queries = vectors_of(2, k)
        for found, expected in zip(index.search(user, queries, k), reference.search(user, queries, k), strict=True):
            np.testing.assert_array_equal(found, expected)


class TestIsolation:
    def test_operations_on_one_user_do_not_touch_the_memory_of_another(self) -> None:
        index = InteractionIndex(item_index())
        put_user(index, 1)
        put_user(index, 2)
        other = index._lists[2]
        put_user(index, 1, count=3, own=(0,))
        index.remove(1)
        assert index._lists[2] is other

    def test_a_removed_list_is_overwritten(self) -> None:
        index = InteractionIndex(item_index())
        put_user(index, 1)
        held = index._lists[1]
        assert held.own is not None and held.own._codes.any()
        index.remove(1)
        assert not held.rows["interaction"].any() and not held.rows["item"].any()
        assert not held.own._codes.any() and not len(held.own)

    def test_a_replaced_list_is_overwritten(self) -> None:
        index = InteractionIndex(item_index())
        put_user(index, 1)
        held = index._lists[1]
        put_user(index, 1, count=2, own=())
        assert held.own is not None and not held.own._codes.any() and not held.rows["interaction"].any()

    def test_the_callers_arrays_are_copied(self) -> None:
        index = InteractionIndex(item_index())
        numbers = np.array([4, 5])
        index.put(1, numbers, np.array([1, 2], dtype=np.int32), {})
        numbers[:] = 0
        np.testing.assert_array_equal(index.interactions(1), [4, 5])
        index.interactions(1)[:] = 0
        np.testing.assert_array_equal(index.interactions(1), [4, 5])

    def test_the_sizes_stated_are_the_sizes_taken(self) -> None:
        index = InteractionIndex(item_index())
        put_user(index, 1)
        held = index._lists[1]
        assert held.rows.nbytes == 6 * 12
        assert held.own is not None
        assert held.own._codes.nbytes + held.own._number_at.nbytes == 2 * (2 * index._items.dimension + 8)


class TestBadInput:
    @pytest.mark.parametrize(
        ("interactions", "items", "own"),
        [
            ([1, 1], [1, 2], {}),
            ([1, 2], [1], {}),
            ([1], [1], {2: np.zeros(DIMENSION, np.float32)}),
            ([1], [1], {1: np.zeros(3, np.float32)}),
            ([1], [1], {1: np.full(DIMENSION, np.nan, np.float32)}),
        ],
    )
    def test_put_refuses_and_changes_nothing(
        self, interactions: list[int], items: list[int], own: dict[int, Vectors]
    ) -> None:
        index = InteractionIndex(item_index())
        put_user(index, 1)
        before = index.vectors(1)
        with pytest.raises(InvalidInput):
            index.put(1, np.array(interactions), np.array(items, dtype=np.int32), own)
        np.testing.assert_array_equal(index.vectors(1), before)

    def test_k_must_be_positive(self) -> None:
        with pytest.raises(InvalidInput):
            InteractionIndex(item_index()).search(1, vectors_of(1, 1), 0)
