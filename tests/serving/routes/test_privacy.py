from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.serving.conftest import Api, FakeEngine


def test_export(api: Api) -> None:
    assert api.call("GET", "/v1/users/u1/export").json() == {
        "user": {"id": "u1", "attributes": {"age": 30, "tags": ["a", "b"]}},
        "interactions": [
            {"item_id": "i0", "event": "rating", "value": 5.0, "text": None, "time": 1000},
            {"item_id": "i1", "event": "rating", "value": None, "text": "liked it", "time": 2000},
        ],
    }


def test_delete(api: Api, engine: FakeEngine) -> None:
    outcome = api.call("DELETE", "/v1/users/u1?confirm=u1").json()
    assert (outcome["scope"], outcome["removed"], outcome["epoch_after"]) == ("user", {"interactions": 2}, 1)
    assert "u1" not in engine.users
    assert api.call("GET", "/v1/users/u1/export").status_code == 404
    record = api.call("GET", f"/v1/forget/{outcome['request_id']}").json()
    assert (record["state"], record["removed"]) == ("erased", {"interactions": 2})
    assert "u1" not in str(record)


def test_a_dry_run_says_what_would_go(api: Api, engine: FakeEngine) -> None:
    outcome = api.call("DELETE", "/v1/users/u1?dry_run=true").json()
    assert (outcome["request_id"], outcome["removed"]) == (None, {"interactions": 2})
    assert len(engine.log["u1"]) == 2
    body = {"user_id": "u1", "scope": "interactions", "after": 2000, "dry_run": True}
    assert api.call("POST", "/v1/forget", json=body).json()["removed"] == {"interactions": 1}
    assert len(engine.log["u1"]) == 2


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        ({"item_ids": ["i0"]}, ["i1"]),
        ({"before": 2000}, ["i1"]),
        ({"before": "1970-01-01T00:00:02Z"}, ["i1"]),
        ({"after": 2000}, ["i0"]),
        ({"item_ids": ["i0"], "after": 2000}, ["i0", "i1"]),
    ],
)
def test_forget_interactions(api: Api, engine: FakeEngine, conditions: dict[str, Any], left: list[str]) -> None:
    body = {"user_id": "u1", "scope": "interactions", "confirm": "u1", **conditions}
    assert api.call("POST", "/v1/forget", json=body).json()["scope"] == "interactions"
    assert [event.item_id for event in engine.log["u1"]] == left
    assert "u1" in engine.users


def test_forget_a_user(api: Api, engine: FakeEngine) -> None:
    body = {"user_id": "u1", "scope": "user", "confirm": "u1"}
    assert api.call("POST", "/v1/forget", json=body).status_code == 200
    assert "u1" not in engine.users


def test_a_removal_under_way_holds_up_no_recommendation(api: Api, engine: FakeEngine) -> None:
    gate = engine.gate = threading.Event()
    removal = api.start("DELETE", "/v1/users/u1?confirm=u1")
    assert engine.entered.acquire(timeout=30)
    engine.gate = None
    assert api.call("POST", "/v1/recommendations", json={"user_id": "u2"}).status_code == 200
    assert api.call("GET", "/v1/items/i1/similar").status_code == 200
    assert api.call("GET", "/readyz").status_code == 200
    assert not removal.done()
    gate.set()
    assert removal.result(30).status_code == 200
