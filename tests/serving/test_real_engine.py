"""The routes over the real engine: the main job from end to end, every answer held against the OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest

from rag_rec.domain import Strategy
from rag_rec.forgetting.receipts.document import check_receipt
from rag_rec.identity.signing import Verifier
from tests.homes import ITEMS, build
from tests.serving.conftest import Api, error_code
from tests.serving.real_service import INTERACTIONS, api, recommend

__all__ = ["api"]  # the fixture


def listed(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


@pytest.mark.parametrize("strategy", Strategy)
def test_a_recommendation_leaves_out_what_was_seen_and_cites_it(api: Api, strategy: Strategy) -> None:
    answer = recommend(api, "user-1", k=5, strategy=strategy.value)
    seen = {interaction.item_id for interaction in INTERACTIONS if interaction.user_id == "user-1"}
    assert len(answer["items"]) == 5
    assert not seen & set(listed(answer))
    cited = {reason["item_id"] for item in answer["items"] for reason in item["reasons"]}
    assert cited
    assert cited <= seen
    assert answer["provenance"]["known_user"]


def test_a_stranger_gets_popular_items_that_meet_the_filter(api: Api) -> None:
    answer = recommend(api, "stranger", k=5, filters="year >= 1996")
    assert (answer["provenance"]["known_user"], answer["provenance"]["source"]) == (False, "popularity")
    years = {item.id: item.attributes["year"] for item in ITEMS}
    assert listed(answer)
    assert all(int(str(years[item])) >= 1996 for item in listed(answer))


def test_an_unknown_field_in_a_filter_is_a_clear_error(api: Api) -> None:
    response = api.call("POST", "/v1/recommendations", json={"user_id": "user-1", "filters": "price > 3"})
    assert (response.status_code, error_code(response)) == (422, "invalid_input")


@pytest.mark.parametrize("event", [{"event": "teleport"}, {"event": "rating"}, {"event": "rating", "value": None}])
def test_an_event_that_means_nothing_is_refused_in_the_one_shape(api: Api, event: dict[str, Any]) -> None:
    known = {"item_id": ITEMS[0].id, "event": "view", "time": 9_000}
    response = api.call("POST", "/v1/users/new/interactions", json=[known, {"item_id": ITEMS[0].id, **event}])
    assert (response.status_code, error_code(response)) == (422, "invalid_input")
    message = response.json()["error"]["message"]
    assert ("RAGREC_EVENTS adds one" in message) == (event["event"] == "teleport")
    assert api.call("GET", "/v1/users/new/export").status_code == 404


def test_an_event_that_is_not_named_is_an_interaction_or_a_rating(api: Api) -> None:
    for at, body in enumerate(({}, {"value": 4.5})):
        sent = {"item_id": ITEMS[at].id, "time": 9_000 + at, **body}
        assert api.call("POST", "/v1/users/new/interactions", json=sent).status_code == 200
    stored = api.call("GET", "/v1/users/new/export").json()["interactions"]
    assert [(row["event"], row["value"]) for row in stored] == [("interaction", None), ("rating", 4.5)]
    answer = recommend(api, "new")
    assert answer["provenance"]["source"] == "candidates"


@pytest.mark.parametrize(("text", "status"), [("", 422), ("  ", 422), ("a text", 204)])
def test_an_item_that_says_nothing_is_refused(api: Api, text: str, status: int) -> None:
    assert api.call("PUT", "/v1/items/bare", json={"text": text}).status_code == status
    titled = {"text": text, "attributes": {"title": "a title"}}
    assert api.call("PUT", "/v1/items/titled", json=titled).status_code == 204


def test_the_next_recommendation_knows_an_event(api: Api) -> None:
    before = recommend(api, "user-1")
    event = {"item_id": listed(before)[0], "value": 5}
    first = api.call("POST", "/v1/users/user-1/interactions", json={**event, "time": 9_000})
    again = api.call("POST", "/v1/users/user-1/interactions", json={**event, "time": 9_000})
    assert first.json() == {"accepted": 1, "duplicates": 0, "suppressed": 0}
    assert again.json() == {"accepted": 0, "duplicates": 1, "suppressed": 0}
    after = recommend(api, "user-1")
    assert event["item_id"] not in listed(after)
    assert after["provenance"]["epoch"] > before["provenance"]["epoch"]


def test_events_are_stored_all_or_none(api: Api) -> None:
    body = [{"item_id": ITEMS[0].id}, {"item_id": "nowhere"}]
    assert api.call("POST", "/v1/users/user-1/interactions", json=body).status_code == 404
    assert len(api.call("GET", "/v1/users/user-1/export").json()["interactions"]) == 5
    future = api.call("POST", "/v1/users/user-1/interactions", json={"item_id": ITEMS[0].id, "time": "9000-01-01"})
    assert future.status_code == 422


def test_a_new_item_is_recommendable_at_once(api: Api) -> None:
    body = {"text": "silent stars over the sea", "attributes": {"genre": "new", "year": 2026}, "provider": "p"}
    assert api.call("PUT", "/v1/items/new%2Fitem", json=body).status_code == 204
    assert listed(recommend(api, "user-1", filters="genre = 'new'")) == ["new/item"]
    similar = api.call("GET", "/v1/items/new%2Fitem/similar?k=3&filters=year%20%3C%202000").json()["items"]
    assert len(similar) == 3


def test_export_then_forget_then_nothing(api: Api) -> None:
    exported = api.call("GET", "/v1/users/user-2/export").json()
    assert len(exported["interactions"]) == 5
    dry = api.call("DELETE", "/v1/users/user-2?dry_run=true").json()
    assert (dry["interactions"], dry["users"], dry["held"]) == (5, 1, [])
    outcome = api.forget("user-2").json()
    record = api.call("GET", f"/v1/forget/{outcome['request_id']}").json()
    assert (record["removed"]["interactions"], record["state"]) == (5, "complete")
    assert api.call("GET", "/v1/users/user-2/export").status_code == 404
    assert not recommend(api, "user-2")["provenance"]["known_user"]


def test_the_receipt_is_signed_with_the_key_that_the_service_gives(api: Api) -> None:
    request = api.forget("user-2").json()["request_id"]
    verifier = Verifier.from_pem(api.call("GET", "/v1/receipts/key").json()["key"])
    verdict = check_receipt(api.call("GET", f"/v1/forget/{request}/receipt").text, verifier)
    assert (verdict.valid, verdict.complete, list(verdict.problems)) == (True, True, [])


def test_forgotten_until_a_new_consent(api: Api) -> None:
    api.forget("user-2")
    event = {"item_id": ITEMS[0].id, "value": 5}
    late = api.call("POST", "/v1/users/user-2/interactions", json=event)
    assert late.json() == {"accepted": 0, "duplicates": 0, "suppressed": 1}
    refused = api.call("PUT", "/v1/users/user-2", json={"attributes": {}})
    assert (refused.status_code, error_code(refused)) == (409, "forgotten")
    assert "ragrec_suppressed_events_total 1.0" in api.call("GET", "/metrics").text
    assert api.call("POST", "/v1/users/user-2/consent").json()["identity"] == 2
    assert api.call("POST", "/v1/users/user-2/interactions", json=event).json()["accepted"] == 1


def test_a_legal_hold_keeps_a_person(api: Api) -> None:
    assert api.call("PUT", "/v1/users/user-2/hold", json={"reason": "case 17"}).status_code == 204
    assert api.call("DELETE", "/v1/users/user-2?dry_run=true").json()["held"] == ["case 17"]
    refused = api.forget("user-2")
    assert (refused.status_code, error_code(refused)) == (409, "legal_hold")
    assert api.call("DELETE", "/v1/users/user-2/hold").status_code == 204
    assert api.forget("user-2").status_code == 200


def test_a_batch_is_forgotten_and_proven(api: Api) -> None:
    body = {"user_ids": ["user-2", "user-5"], "scope": "user"}
    plan = api.call("POST", "/v1/forget", json={**body, "dry_run": True}).json()["plan"]
    outcome = api.call("POST", "/v1/forget", json={**body, "confirm": "2", "plan": plan}).json()
    batch = api.call("GET", f"/v1/forget/{outcome['request_id']}").json()
    assert [record["state"] for record in batch["requests"]] == ["complete", "complete"]
    assert api.call("GET", "/v1/forget?pending=true").json() == {"requests": []}
    assert api.call("GET", "/v1/forget").json()["requests"] == batch["requests"]
    assert api.call("GET", "/v1/forget?limit=1").json()["requests"] == batch["requests"][1:]
    of_one = api.call("POST", "/v1/forget/find", json={"user_id": "user-5"}).json()["requests"]
    assert [record["request_id"] for record in of_one] == outcome["requests"][1:]
    proof = api.call("POST", f"/v1/forget/{outcome['requests'][0]}/prove").json()
    assert proof["equal"] is True


def test_forget_some_interactions(api: Api) -> None:
    last = api.call("GET", "/v1/users/user-3/export").json()["interactions"][-1]["id"]
    for conditions in ({"before": 2_000}, {"interaction_ids": [last]}):
        body = {"user_id": "user-3", "scope": "interactions", **conditions}
        plan = api.call("POST", "/v1/forget", json={**body, "dry_run": True}).json()["plan"]
        done = api.call("POST", "/v1/forget", json={**body, "confirm": "user-3", "plan": plan})
        assert done.status_code == 200, done.text
    left = api.call("GET", "/v1/users/user-3/export").json()["interactions"]
    assert [interaction["time"] for interaction in left] == [2_003, 3_003]
    assert recommend(api, "user-3")["provenance"]["known_user"]


def test_a_new_generation_is_taken_up_between_requests(api: Api) -> None:
    before = recommend(api, "user-1")
    generation = build(api.service.settings)
    api.service.refresh(api.service.ready_engine)
    after = recommend(api, "user-1")
    assert after["provenance"]["generation"] == generation.id != before["provenance"]["generation"]
    assert listed(after) == listed(before)


def test_health(api: Api) -> None:
    assert api.call("GET", "/readyz", None).status_code == 200
    assert "ragrec_interactions 40.0" in api.call("GET", "/metrics").text
