"""What the generator of requests has to know beyond the OpenAPI document: rules between fields, and what there is."""

from __future__ import annotations

import time
import zlib
from typing import Any

import schemathesis
from hypothesis import strategies as st

# The language of filters is a grammar, which a schema does not express.
schemathesis.openapi.format("filter", st.sampled_from(["year >= 1995", 'genre = "mystery"', "not year < 1996"]))

REQUESTS: list[str] = []
PLANS: list[tuple[str, str]] = []
"""Users with what a dry run said of them."""


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:  # noqa: ARG001 - the arguments of a hook
    """Keep to the documented rules, and ask for what there is, where the request is meant to be accepted."""
    if not case.meta.generation.mode.is_positive:
        return
    _name_what_there_is(case)
    if isinstance(case.body, list):
        for event in case.body:
            _date_in_the_past(event)
            _give_ratings_a_value(event)
    elif isinstance(case.body, dict):
        _date_in_the_past(case.body)
        _give_ratings_a_value(case.body)
        if case.path == "/v1/items/{item_id}" and not case.body["text"].strip():
            case.body["attributes"] = {"title": "Heat"}
        if case.path == "/v1/recommendations/explain":
            case.body.pop("item_id", None)  # has to be among those recommended
        if case.body.get("deadline_ms"):
            case.body["deadline_ms"] = 60_000  # a shorter one may be missed
        if case.path == "/v1/forget":
            _keep_rules_of_forgetting(case.body)
    if case.query and str(case.query.get("dry_run")).lower() != "false":
        case.query.pop("confirm", None)
        case.query.pop("plan", None)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:  # noqa: ARG001
    """Remember what there is."""
    if response.status_code != 200 or not case.path.startswith("/v1/forget") or case.method != "POST":
        return
    answer = response.json()
    if "plan" in answer and case.body.get("user_id"):
        PLANS.append((case.body["user_id"], answer["plan"]))
    REQUESTS.extend(answer["requests"] if "request_id" in answer else [])


def _name_what_there_is(case: Any) -> None:
    """Every second identifier is one that is known."""
    for name, value in list((case.path_parameters or {}).items()):
        number = zlib.crc32(str(value).encode())
        if number % 2:
            known = {"user_id": f"user-{number % 8}", "item_id": f"item-{number % 12}"}
            case.path_parameters[name] = known.get(name) or (REQUESTS[-1] if REQUESTS else value)


def _date_in_the_past(body: dict[str, Any]) -> None:
    """A time may lie in the future by the clock's error only; years and days are checked beyond their form."""
    for name in ("time", "before", "after"):
        value = body.get(name)
        if isinstance(value, str) or (isinstance(value, int | float) and value > 1000 * time.time()):
            body[name] = 1_000


def _give_ratings_a_value(event: dict[str, Any]) -> None:
    if event.get("event") == "rating" and event.get("value") is None:
        event["value"] = 4.5


def _keep_rules_of_forgetting(body: dict[str, Any]) -> None:
    if body["scope"] == "user" or body.get("user_ids"):
        body["scope"] = "user"
        for name in ("interaction_ids", "item_ids", "before", "after"):
            body.pop(name, None)
    elif not body.get("item_ids"):
        body["item_ids"] = ["item-1"]
    if body.get("after") is not None:
        body.pop("before", None)
    if body.get("user_ids"):
        body["user_ids"] = list(dict.fromkeys(body["user_ids"]))
    if body.get("dry_run"):
        body.pop("confirm", None)
        body.pop("plan", None)
    elif PLANS and body["scope"] == "user" and body.get("user_id"):
        body["user_id"], body["plan"] = PLANS.pop()
        body["confirm"] = body["user_id"]
