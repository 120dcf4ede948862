from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rag_rec.domain import User
from tests.serving.conftest import error_code
from tests.serving.fake_officer import subject_of

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


def test_a_hold_is_placed_listed_and_lifted(api: Api) -> None:
    assert api.call("PUT", "/v1/users/u1/hold", json={"reason": " case 17 "}).status_code == 204
    (hold,) = api.call("GET", "/v1/holds").json()["holds"]
    assert hold == {"subject": subject_of("u1"), "reason": "case 17", "created": 4_000}
    assert api.call("DELETE", "/v1/users/u1/hold").status_code == 204
    assert api.call("GET", "/v1/holds").json() == {"holds": []}
    assert api.call("DELETE", "/v1/users/u1/hold").status_code == 404


def test_only_a_user_who_is_there_is_held(api: Api) -> None:
    response = api.call("PUT", "/v1/users/nobody/hold", json={"reason": "case 17"})
    assert (response.status_code, error_code(response)) == (404, "unknown_user")


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 1_001}, {"reason": "x", "a": 1}]
)
def test_a_hold_has_a_reason(api: Api, engine: FakeEngine, body: dict[str, Any]) -> None:
    assert api.call("PUT", "/v1/users/u1/hold", json=body).status_code == 422
    assert engine.held == {}


def test_a_removal_of_a_user_whose_id_ends_in_hold_lifts_no_hold(api: Api, engine: FakeEngine) -> None:
    engine.officer.hold("u1", "case 17")
    assert api.call("DELETE", "/v1/users/u1/hold?dry_run=true").status_code == 422
    assert api.call("DELETE", "/v1/users/u1/hold?confirm=u1/hold&plan=p").status_code == 422
    assert "u1" in engine.held


def test_an_encoded_slash_is_part_of_the_id(api: Api, engine: FakeEngine) -> None:
    engine.users |= {name: User(name) for name in ("a/b", "a/b/hold", "a/b/export")}
    engine.officer.hold("a/b", "case 17")
    for user_id in ("a%2Fb%2Fhold", "a%2fb%2fhold"):
        engine.users["a/b/hold"] = User("a/b/hold")
        plan = api.call("DELETE", f"/v1/users/{user_id}?dry_run=true").json()["plan"]
        assert api.call("DELETE", f"/v1/users/{user_id}?confirm=a/b/hold&plan={plan}").status_code == 200
        assert "a/b/hold" not in engine.users
        engine.outcomes.clear()
    assert "a/b" in engine.held
    assert api.call("GET", "/v1/users/a%2Fb%2Fexport/export").json()["user"]["id"] == "a/b/export"
    assert api.call("PUT", "/v1/users/a%2Fb%2Fexport/hold", json={"reason": "case 18"}).status_code == 204
    assert set(engine.held) == {"a/b", "a/b/export"}
    assert api.call("DELETE", "/v1/users/a/b/hold").status_code == 404
    assert "a/b" in engine.held
    assert api.call("DELETE", "/v1/users/a%2Fb/hold").status_code == 204
    assert "a/b" not in engine.held


def test_a_slash_that_was_encoded_twice_is_no_slash(api: Api, engine: FakeEngine) -> None:
    assert api.call("PUT", "/v1/users/a%252Fhold", json={}).status_code == 204
    assert "a%2Fhold" in engine.users
    assert api.call("PUT", "/v1/users/a%00hold", json={}).status_code == 422


def test_consent_opens_a_new_identity(api: Api) -> None:
    unknown = api.call("POST", "/v1/users/u1/consent")
    assert (unknown.status_code, error_code(unknown)) == (404, "unknown_user")
    api.forget("u1")
    event = {"item_id": "i2"}
    refused = api.call("POST", "/v1/users/u1/interactions", json=event).json()
    assert refused == {"accepted": 0, "duplicates": 0, "suppressed": 1}
    assert api.call("POST", "/v1/users/u1/consent").json() == {"identity": 2, "since": 5_000}
    taken = api.call("POST", "/v1/users/u1/interactions", json=event).json()
    assert taken == {"accepted": 1, "duplicates": 0, "suppressed": 0}
