from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.conftest import error_code
from tests.serving.fake_engine import subject_of

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
    engine.hold("u1", "case 17")
    assert api.call("DELETE", "/v1/users/u1/hold?dry_run=true").status_code == 422
    assert api.call("DELETE", "/v1/users/u1/hold?confirm=u1/hold&plan=p").status_code == 422
    assert "u1" in engine.held


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
