from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog

from rag_rec.domain import User
from serving.logs import capture_libraries
from tests.serving.fake_officer import subject_of

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


def lines(api: Api) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in api.log.getvalue().splitlines()]


def test_one_line_per_request(api: Api) -> None:
    responses = [api.call("GET", "/v1/users/u1/export"), api.call("GET", "/nowhere", None)]
    first, second = lines(api)
    assert [line["request"] for line in (first, second)] == [r.headers["x-request-id"] for r in responses]
    assert (first["method"], first["route"], first["status"]) == ("GET", "/v1/users/{user_id}/export", 200)
    assert (second["route"], second["status"]) == ("unmatched", 404)
    assert isinstance(first["ms"], float)


def test_a_request_number_from_outside_is_not_taken_over(api: Api) -> None:
    response = api.call("GET", "/healthz", headers={"X-Request-ID": "person-77"})
    assert response.headers["x-request-id"] != "person-77"
    assert "person-77" not in api.log.getvalue().decode()


def test_no_identifier_key_or_text_is_logged(api: Api) -> None:
    api.call("PUT", "/v1/users/person-77", json={"attributes": {"city": "person-77"}})
    api.call("POST", "/v1/users/person-77/interactions", json={"item_id": "i1", "text": "person-77"})
    api.call("POST", "/v1/recommendations", json={"user_id": "person-77", "filters": "a = 'person-77'"})
    api.call("POST", "/v1/recommendations", json={"user_id": "person-77", "k": "person-77"})
    api.call("PUT", "/v1/users/person-77/hold", json={"reason": "person-77"})
    assert api.forget("person-77").status_code == 409
    api.call("DELETE", "/v1/users/person-77/hold")
    request = api.forget("person-77").json()["request_id"]
    api.call("GET", f"/v1/forget/{request}")
    api.call("POST", "/v1/users/person-77/consent")
    api.call("GET", "/v1/person-77")
    log = api.log.getvalue().decode()
    assert len(log.splitlines()) == 14  # one more for the removal
    assert subject_of("person-77") not in log
    assert "person-77" not in log
    assert "key-of-" not in log


def test_a_removal_is_logged_by_its_request(api: Api, engine: FakeEngine) -> None:
    engine.users |= {name: User(name) for name in ("person-77", "person-78")}
    body = {"user_ids": ["person-77", "person-78"], "scope": "user"}
    plan = api.call("POST", "/v1/forget", json={**body, "dry_run": True}).json()["plan"]
    outcomes = [api.call("POST", "/v1/forget", json={**body, "confirm": "2", "plan": plan}).json() for _ in range(2)]
    first, again = (line for line in lines(api) if line["event"] == "removal")
    assert first["request_id"] == again["request_id"] == outcomes[0]["request_id"]
    assert (first["state"], first["scope"], first["people"]) == ("complete", "user", 2)
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert isinstance(first["ms"], float)
    named = {"event", "level", "timestamp", "request_id", "scope", "state", "people", "repeated", "ms"}
    assert first.keys() == again.keys() == named
    for hidden in ("person-7", subject_of("person-77"), plan):
        assert hidden not in api.log.getvalue().decode()


def test_the_log_of_the_library_is_json_on_stderr(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        capture_libraries()
        structlog.get_logger().warning("generator_unavailable", reason="absent")
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(False)
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
    written = capfdbinary.readouterr()
    assert written.out == b""
    line = orjson.loads(written.err)
    assert (line["event"], line["level"], line["reason"]) == ("generator_unavailable", "warning", "absent")
