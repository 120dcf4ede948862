from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.compact.sequences import (
    ASKED,
    MOST_LOST,
    NO_TARGET,
    Batch,
    TokenSequence,
    Windows,
    hold_out,
    share_to_ask,
)
from rag_rec.errors import InvalidInput
from rag_rec.evaluation.held_out import is_held_out

PADDING = 1
FIRST_ITEM = 10


def sequence(prefix: int, items: int, first: int = 0) -> TokenSequence:
    """A prefix of ``<bos>`` and attributes, and items that occur nowhere else."""
    return TokenSequence(np.arange(2, 2 + prefix), np.arange(items) + FIRST_ITEM + first)


def windows_of(lengths: list[int], context: int = 5, size: int = 3, prefix: int = 2) -> Windows:
    starts = np.cumsum([0, *lengths])[:-1]
    people = [sequence(prefix, length, int(start)) for length, start in zip(lengths, starts, strict=True)]
    return Windows(people, context, size, PADDING, seed=7)


def learned(batches: list[Batch]) -> list[int]:
    return sorted(int(target) for batch in batches for target in batch.targets[batch.targets != NO_TARGET])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 23), max_size=8), st.integers(1, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 4)
)
def test_every_item_is_learned_once_after_the_items_before_it(
    lengths: list[int], context: int, size: int, prefix: int, epoch: int
) -> None:
    batches = windows_of(lengths, context, size, prefix).batches(epoch)
    assert learned(batches) == list(range(FIRST_ITEM, FIRST_ITEM + sum(lengths)))
    for batch in batches:
        assert len(batch.tokens) <= size
        for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
            assert tokens[:prefix].tolist() == list(range(2, 2 + prefix))
            places = np.flatnonzero(targets != NO_TARGET)
            assert len(places) <= context
            assert (np.diff(places) == 1).all()
            for place in places[1:]:
                assert targets[place] == tokens[place] + 1 == targets[place - 1] + 1
            assert (tokens[places[-1] + 1 :] == PADDING).all()


def test_a_later_window_reads_the_item_before_it_and_does_not_learn_it() -> None:
    batches = windows_of([7], context=4, size=1, prefix=1).batches(0)
    later = next(batch for batch in batches if batch.targets[0, 0] == NO_TARGET)
    assert later.targets[0, 1] == later.tokens[0, 1] + 1


def test_batches_follow_from_seed_and_epoch_and_differ_between_epochs() -> None:
    first, again = (windows_of([40, 30, 3, 5, 17]).batches(3) for _ in range(2))
    assert all(
        np.array_equal(a.tokens, b.tokens) and np.array_equal(a.targets, b.targets)
        for a, b in zip(first, again, strict=True)
    )
    other = windows_of([40, 30, 3, 5, 17]).batches(4)
    assert [batch.tokens.tolist() for batch in first] != [batch.tokens.tolist() for batch in other]


def test_rows_of_a_batch_are_of_about_equal_length() -> None:
    batches = windows_of(list(range(1, 101)), context=200, size=10).batches(0)
    padding = sum(int((batch.tokens == PADDING).sum()) for batch in batches)
    assert padding < 0.1 * sum(batch.tokens.size for batch in batches)


def test_the_newest_item_is_held_out_of_a_sample_that_does_not_depend_on_others() -> None:
    people = [(f"user-{user}", np.arange(3) + user) for user in range(400)]
    kept, held = hold_out(people, 0.25, seed=1)
    assert 60 < len(held) < 140
    for (user, items), (_, rest) in zip(people, kept, strict=True):
        assert (user in held) == is_held_out(user, 0.25, 1)
        assert [*rest.tolist(), *([held[user]] if user in held else [])] == items.tolist()
    others = dict(people[::2])
    assert hold_out(people[::2], 0.25, seed=1)[1] == {user: item for user, item in held.items() if user in others}


def test_holding_out_from_all_spares_histories_of_one_item_and_from_none_changes_nothing() -> None:
    people = [("a", np.array([5])), ("b", np.array([5, 6])), ("c", np.empty(0, dtype=np.int64))]
    kept, held = hold_out(people, 1.0, seed=0)
    assert held == {"b": 6}
    assert [items.tolist() for _, items in kept] == [[5], [5], []]
    assert hold_out(people, 0.0, seed=0)[1] == {}


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        hold_out([], 1.5, seed=0)


@pytest.mark.parametrize("people", [300, 2400, 6040, 14_500, 10**6])
def test_the_share_held_out_asks_enough_people_and_not_many_more(people: int) -> None:
    share = share_to_ask([60] * people)
    asked = share * people
    assert asked == people if people < 2 * ASKED else ASKED <= asked < 2 * ASKED


def test_no_more_than_a_tenth_of_the_choices_is_kept_from_the_training() -> None:
    for lengths in ([5] * 1000, [2] * 5000 + [30] * 500, [3, 4, 5]):
        share = share_to_ask(lengths)
        assert share * sum(length > 1 for length in lengths) <= max(1.0, MOST_LOST * sum(lengths))


def test_one_person_more_or_less_does_not_change_the_share() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, size=7000).tolist()
    assert {share_to_ask(lengths[:-gone] if gone else lengths) for gone in range(5)} == {0.5}
