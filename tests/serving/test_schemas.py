from __future__ import annotations

import json
from calendar import timegm
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rag_rec.errors import InvalidInput
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.store.records import Selection
from rag_rec.validation import MAX_TIME, id_problem
from serving.forget_schemas import ForgetBody
from serving.limits import Limits
from serving.schemas import Event, RecommendationBody

moments = st.datetimes(
    min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)
)  # away from the edges, which an offset of some hours would cross


@given(moments, st.integers(-14 * 60, 14 * 60))
def test_a_time_means_the_same_in_every_notation(moment: datetime, offset_minutes: int) -> None:
    milliseconds = timegm(moment.timetuple()) * 1000 + moment.microsecond // 1000
    local = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))
    for given_time in (milliseconds, moment.isoformat(), local.isoformat(), moment.replace(tzinfo=None).isoformat()):
        event = Event.model_validate({"item_id": "i", "time": given_time})
        assert event.interaction("u", 0).time == milliseconds


@given(st.integers())
def test_whole_numbers_are_milliseconds_in_range(value: int) -> None:
    body = {"item_id": "i", "time": value}
    if 0 <= value <= MAX_TIME:
        assert Event.model_validate(body).time == value
    else:
        with pytest.raises(ValidationError):
            Event.model_validate(body)


@given(st.text(max_size=300))
def test_every_identifier_that_can_be_stored_can_be_asked_for(text: str) -> None:
    if id_problem(text) is None:
        assert RecommendationBody.model_validate({"user_id": text}).request().user_id == text
    elif text and not text.isspace():
        with pytest.raises(ValidationError):
            RecommendationBody.model_validate({"user_id": text})


def test_the_scope_decides_what_conditions_mean() -> None:
    body = ForgetBody(user_id="u", scope="interactions", item_ids=frozenset({"i"}), confirm="u")
    assert body.request().selection == Selection(frozenset({"i"}))
    assert ForgetBody(user_id="u", scope="user", confirm="u").request().selection is None
    with pytest.raises(InvalidInput, match="interactions"):
        ForgetBody(user_id="u", scope="user", item_ids=frozenset({"i"}), confirm="u").request()


def test_a_forget_request_keeps_what_it_quotes() -> None:
    body = ForgetBody(user_ids=["b", "a"], scope="user", confirm="2", plan="p")
    assert body.request() == ForgetRequest(("b", "a"), None, "2", "p")
    chosen = ForgetBody(user_id="u", scope="interactions", interaction_ids=frozenset({3}), before=5, after=2)
    assert chosen.request() == ForgetRequest.of("u", Selection(frozenset(), 5, 2, frozenset({3})))
    for users in ({}, {"user_id": "u", "user_ids": ["v"]}):
        with pytest.raises(InvalidInput, match="user_ids"):
            ForgetBody.model_validate({"scope": "user", **users}).request()


def test_the_largest_batch_fits_the_largest_body() -> None:
    ids = [f"{number:0256}" for number in range(10_000)]
    body = {"user_ids": ids, "scope": "user", "confirm": "10000", "plan": "f" * 64}
    assert len(json.dumps(body)) < Limits().body_bytes
    assert ForgetBody.model_validate(body).request().user_ids == tuple(ids)
    with pytest.raises(ValidationError):
        ForgetBody.model_validate({**body, "user_ids": [*ids, "one more"]})


@pytest.mark.parametrize(("field", "what"), [("item_ids", "texts"), ("interaction_ids", "numbers")])
def test_what_has_to_be_a_list_is_said_so(field: str, what: str) -> None:
    with pytest.raises(ValidationError, match=f"Input should be a list of {what}"):
        ForgetBody.model_validate({"user_id": "u", "scope": "interactions", field: "i"})
