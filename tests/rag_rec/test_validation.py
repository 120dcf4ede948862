"""The rules on one value and on a frame are the same rules."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_rec.domain import Interaction
from rag_rec.errors import InvalidInput
from rag_rec.settings import Settings
from rag_rec.store.appending import SCHEMA
from rag_rec.validation import (
    MAX_TIME,
    Limits,
    attribute_problem,
    check_interaction,
    interaction_problem,
    interaction_problems,
    time_problem,
)

LIMITS = Limits(max_text_characters=5, latest_time=1000)
ids = st.one_of(st.text(max_size=3), st.sampled_from(["", " ", "a" * 257, "ä" * 256, "a\x85", "\x00", "u"]))
events = st.sampled_from(["rating", "", "e" * 65, "e\t"])
values = st.none() | st.floats(width=64)
texts = st.none() | st.text(max_size=7)
times = st.integers(-2, 2) | st.integers(999, 1001) | st.just(MAX_TIME + 1)


@given(ids, ids, events, values, texts, times)
@example("\x1c", "i", "rating", None, None, 0)  # blank for Python only
def test_a_frame_and_a_single_interaction_have_the_same_first_problem(
    user: str, item: str, event: str, value: float | None, text: str | None, time: int
) -> None:
    row = Interaction(user, item, time, event, value, text)
    frame = pl.DataFrame({name: [getattr(row, name)] for name in SCHEMA}, schema=SCHEMA)
    assert interaction_problems(frame, LIMITS).to_list() == [interaction_problem(row, LIMITS)]


def test_a_time_may_lie_in_the_future_by_the_clock_skew_only() -> None:
    limits = Limits.at(5000, Settings(clock_skew_seconds=2))
    assert time_problem(7000, limits) is None
    assert time_problem(7001, limits) == "lies in the future"


@pytest.mark.parametrize("time", [-1, MAX_TIME + 1, 2**63, True, 1.5, "1"])
def test_times_that_are_no_time(time: object) -> None:
    assert time_problem(time)


@pytest.mark.parametrize("value", [None, [], ["a"], ("a", 1), {}, math.nan, math.inf, 2**63, "x\x00", ("\ud800",)])
def test_values_that_are_no_attribute(value: object) -> None:
    assert attribute_problem(value)


@pytest.mark.parametrize("value", ["", "two\nlines\t", 0, -(2**63), 1.5, True, (), ("a", "")])
def test_values_that_are_attributes(value: object) -> None:
    assert attribute_problem(value) is None


def test_a_message_names_the_field_and_not_the_value() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_interaction(Interaction("somebody\x07", "i", 1))
    assert "user_id: contains a control character" in str(caught.value)
    assert "somebody" not in str(caught.value)
