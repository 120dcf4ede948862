from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from rag_rec.domain import Interaction, Item, User

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


def test_one_event(api: Api, engine: FakeEngine) -> None:
    body = {"item_id": "i2", "event": "like", "value": 1, "text": "good\nfun", "time": 5000}
    assert api.call("POST", "/v1/users/u1/interactions", json=body).json() == {
        "accepted": 1,
        "duplicates": 0,
        "suppressed": 0,
    }
    assert engine.log["u1"][-1] == Interaction("u1", "i2", 5000, "like", 1.0, "good\nfun")
    assert api.call("POST", "/v1/users/u1/interactions", json=body).json() == {
        "accepted": 0,
        "duplicates": 1,
        "suppressed": 0,
    }


def test_many_events(api: Api, engine: FakeEngine) -> None:
    body = [{"item_id": f"i{number}", "time": number} for number in range(5)]
    assert api.call("POST", "/v1/users/new/interactions", json=body).json() == {
        "accepted": 5,
        "duplicates": 0,
        "suppressed": 0,
    }
    assert [(event.item_id, event.time) for event in engine.log["new"]] == [(f"i{n}", n) for n in range(5)]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T02:00:01+02:00", 1000),
        ("1970-01-01T00:00:02", 2000),
        ("1970-01-02", 86_400_000),
        (1_700_000_000_123, 1_700_000_000_123),
    ],
)
def test_times(api: Api, engine: FakeEngine, given: Any, stored: int) -> None:
    response = api.call("POST", "/v1/users/u1/interactions", json={"item_id": "i3", "time": given})
    assert response.status_code == 200, response.text
    assert engine.log["u1"][-1].time == stored


def test_an_event_without_a_time_happens_now(api: Api, engine: FakeEngine) -> None:
    before = time.time_ns() // 1_000_000
    api.call("POST", "/v1/users/u1/interactions", json={"item_id": "i3"})
    assert before <= engine.log["u1"][-1].time <= time.time_ns() // 1_000_000


def test_a_user(api: Api, engine: FakeEngine) -> None:
    attributes: dict[str, Any] = {"age": 30, "weight": 1.5, "member": True, "city": "Jyväskylä", "tags": ["a", "b"]}
    assert api.call("PUT", "/v1/users/a%2Fb%20c", json={"attributes": attributes}).status_code == 204
    assert engine.users["a/b c"] == User("a/b c", {**attributes, "tags": ("a", "b")})
    assert isinstance(engine.users["a/b c"].attributes["member"], bool)
    assert isinstance(engine.users["a/b c"].attributes["age"], int)


def test_an_item_can_be_recommended_at_once(api: Api, engine: FakeEngine) -> None:
    body = {"text": "New", "attributes": {"year": 2026}, "provider": "acme"}
    assert api.call("PUT", "/v1/items/n", json=body).status_code == 204
    assert engine.items["n"] == Item("n", "New", {"year": 2026}, "acme")
    items = api.call("POST", "/v1/recommendations", json={"user_id": "u1"}).json()["items"]
    assert "n" in {item["item_id"] for item in items}


def test_the_next_recommendation_knows_an_event(api: Api) -> None:
    api.call("POST", "/v1/users/u1/interactions", json={"item_id": "i2"})
    answer = api.call("POST", "/v1/recommendations", json={"user_id": "u1"}).json()
    assert "i2" not in {item["item_id"] for item in answer["items"]}
    assert answer["provenance"]["epoch"] == 1
