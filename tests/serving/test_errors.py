"""Bad input: a clear error in the one shape, and nothing changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from rag_rec.errors import CorruptIndex
from tests.serving.conftest import error_code

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine

JSON = {"Content-Type": "application/json"}
BODIES: list[tuple[str, bytes, int]] = [
    ("/v1/recommendations", b"", 400),
    ("/v1/recommendations", b"{", 400),
    ("/v1/recommendations", b'{"user_id": "u1"} x', 400),
    ("/v1/recommendations", b'{"user_id": "\xff"}', 400),
    ("/v1/recommendations", b'{"user_id": "\\ud800"}', 400),
    ("/v1/recommendations", b"[" * 5000, 400),
    ("/v1/recommendations", b"null", 422),
    ("/v1/recommendations", b"[]", 422),
    ("/v1/recommendations", b"{}", 422),
    ("/v1/recommendations", b'{"user_id": 1}', 422),
    ("/v1/recommendations", b'{"user_id": ""}', 422),
    ("/v1/recommendations", b'{"user_id": "a\\u0000b"}', 422),
    ("/v1/recommendations", b'{"user_id": "a\\u0085b"}', 422),
    ("/v1/recommendations", b'{"user_id": "' + b"x" * 257 + b'"}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "k": 0}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "k": 51}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "k": 1000000000000000000000000}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "k": "5"}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "k": true}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "k": 2.5}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "strategy": "best"}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "deadline_ms": 0}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "deadline_ms": 60001}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "filters": {"year": 1}}', 422),
    ("/v1/recommendations", b'{"user_id": "u1", "limit": 3}', 422),
    ("/v1/users/u1/interactions", b"[]", 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "value": NaN}', 400),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "value": Infinity}', 400),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "value": 1e999}', 400),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "value": 1e300}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "value": true}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "value": "5"}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "time": "yesterday"}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "time": "1960-01-01"}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "time": -1}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "time": 1.5}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "time": 1e30}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "time": true}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "event": ""}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "text": "a\\u0000b"}', 422),
    ("/v1/users/u1/interactions", b'{"item_id": "i2", "user_id": "u2"}', 422),
    ("/v1/users/u1/interactions", b'[{"item_id": "i2"}, {"item": "i3"}]', 422),
    ("/v1/users/u1/interactions", b"[" + b'{"item_id":"i2"},' * 20 + b'{"item_id":"i2"}]', 422),
    ("/v1/users/u1/interactions", b'[{"item_id": "i2"}, {"item_id": "nowhere"}]', 404),
    ("/v1/users/u1/interactions", b'"' + b"x" * 20_000 + b'"', 413),
    ("/v1/forget", b'{"user_id": "u1"}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "all", "confirm": "u1"}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "user"}', 409),
    ("/v1/forget", b'{"user_id": "u1", "scope": "user", "confirm": "u2"}', 409),
    ("/v1/forget", b'{"user_id": "u1", "scope": "user", "confirm": "u1", "before": 5}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "user", "confirm": "u1", "dry_run": 1}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "user", "confirm": "u1"}', 409),
    ("/v1/forget", b'{"user_id": "u1", "scope": "interactions", "confirm": "u1", "plan": "p"}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "interactions", "interaction_ids": ["0"], "dry_run": true}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "interactions", "interaction_ids": [-1], "dry_run": true}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "interactions", "interaction_ids": [1.5], "dry_run": true}', 422),
    ("/v1/forget", b'{"user_id": "nobody", "scope": "user", "confirm": "nobody", "plan": "p"}', 404),
    ("/v1/forget", b'{"user_id": "nobody", "scope": "user", "dry_run": true}', 404),
    ("/v1/forget", b'{"user_ids": ["u1", "nobody"], "scope": "user", "dry_run": true}', 404),
    ("/v1/forget", b'{"user_id": "u1", "scope": "user", "dry_run": true, "confirm": "u1"}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "interactions", "item_ids": "i0", "dry_run": true}', 422),
    ("/v1/forget", b'{"user_id": "u1", "scope": "interactions", "after": 9, "before": 5, "dry_run": true}', 422),
    ("/v1/forget/nothing/prove", b"", 404),
]


@pytest.mark.parametrize(("path", "body", "status"), BODIES, ids=lambda value: repr(value)[:60])
def test_bad_bodies(api: Api, engine: FakeEngine, path: str, body: bytes, status: int) -> None:
    before = (engine.epoch, engine.status(), list(engine.log["u1"]))
    response = api.call("POST", path, content=body, headers=JSON)
    assert response.status_code == status, response.text
    assert set(response.json()["error"]) <= {"code", "message", "details"}
    assert (engine.epoch, engine.status(), list(engine.log["u1"])) == before


PUTS: list[tuple[str, Any]] = [
    ("/v1/users/u1", {"attributes": {"a": None}}),
    ("/v1/users/u1", {"attributes": {"a": {"b": 1}}}),
    ("/v1/users/u1", {"attributes": {"a": [1]}}),
    ("/v1/users/u1", {"attributes": {"": 1}}),
    ("/v1/users/u1", {"attributes": {f"a{number}": 1 for number in range(201)}}),
    ("/v1/users/u1", {"attributes": {"a": "x\x00"}}),
    ("/v1/users/u1", {"name": "x"}),
    ("/v1/users/" + "x" * 257, {}),
    ("/v1/items/i1", {}),
    ("/v1/items/i1", {"text": None}),
    ("/v1/items/i1", {"text": "x", "provider": ""}),
    ("/v1/items/i1", {"text": "x", "price": 5}),
    ("/v1/items/", {"text": "x"}),
]


@pytest.mark.parametrize(("path", "body"), PUTS, ids=lambda value: repr(value)[:60])
def test_bad_users_and_items(api: Api, engine: FakeEngine, path: str, body: Any) -> None:
    response = api.call("PUT", path, json=body)
    assert response.status_code == 422, response.text
    assert error_code(response) == "invalid_input"
    assert engine.epoch == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/users/nobody/export", 404),
        ("GET", "/v1/items/nothing/similar", 404),
        ("GET", "/v1/items/i1/similar?k=0", 422),
        ("GET", "/v1/items/i1/similar?k=51", 422),
        ("GET", "/v1/items/i1/similar?k=many", 422),
        ("GET", "/v1/items/i1/similar?size=5", 422),
        ("GET", "/v1/forget/nothing", 404),
        ("DELETE", "/v1/users/u1", 409),
        ("DELETE", "/v1/users/u1?confirm=u2", 409),
        ("DELETE", "/v1/users/u1?confirm=u1", 409),
        ("DELETE", "/v1/users/u1?confirm=u1&plan=p", 409),
        ("DELETE", "/v1/users/u1?confirm=u1&force=true", 422),
        ("DELETE", "/v1/users/nobody?confirm=nobody&plan=p", 404),
        ("DELETE", "/v1/users/nobody?dry_run=true", 404),
        ("GET", "/v1/forget/nothing/receipt", 404),
        ("GET", "/v1/forget?all=true", 422),
        ("POST", "/v1/users/nobody/consent", 404),
        ("DELETE", "/v1/users/nobody/hold", 404),
        ("PUT", "/v1/holds", 405),
        ("DELETE", "/v1/users/?confirm=", 422),
        ("GET", "/v1/users/a%0Ab/export", 422),
        ("GET", "/v1/users/a%00b/export", 422),
        ("GET", "/v1/users/%ff/export", 400),
        ("GET", "/v1/items/i1/similar?filters=%ff", 400),
        ("GET", "/v2/anything", 404),
        ("PATCH", "/v1/users/u1", 405),
        ("GET", "/v1/recommendations", 405),
    ],
)
def test_bad_addresses(api: Api, engine: FakeEngine, method: str, path: str, status: int) -> None:
    response = api.call(method, path)
    assert response.status_code == status, response.text
    assert set(response.json()["error"]) <= {"code", "message", "details"}
    assert engine.epoch == 0
    assert "u1" in engine.users


def test_a_query_of_many_parameters_is_not_looked_at(api: Api) -> None:
    response = api.call("GET", "/v1/items/i1/similar?" + "&".join(f"p{number}=" for number in range(1_000)))
    assert (response.status_code, error_code(response)) == (422, "invalid_input")
    assert "details" not in response.json()["error"]


def test_a_refused_method_lists_the_ones_that_work(api: Api) -> None:
    response = api.call("PATCH", "/v1/users/u1")
    assert response.headers["allow"] == "DELETE, PUT"
    assert error_code(response) == "method_not_allowed"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/users/x/interactions", "POST"),
        ("/v1/users/x/hold", "DELETE, PUT"),
        ("/v1/users/x/export", "GET"),
        ("/v1/users/x/consent", "POST"),
        ("/v1/items/x/similar", "GET"),
        ("/v1/users/x%2Finteractions", "DELETE, PUT"),
        ("/v1/forget", "GET, POST"),
        ("/v1/forget/find", "POST"),
        ("/v1/forget/r1", "GET"),
        ("/v1/recommendations/explain", "POST"),
        ("/healthz", "GET"),
    ],
)
def test_an_address_answers_to_its_own_methods_and_names_them(
    api: Api, engine: FakeEngine, path: str, allowed: str
) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(allowed.split(", ")):
        response = api.call(method, path, json={"attributes": {}})
        assert (response.status_code, response.headers["allow"]) == (405, allowed), method
    assert set(engine.users) == {"u1"}


def test_a_plain_slash_is_no_part_of_an_id(api: Api, engine: FakeEngine) -> None:
    assert error_code(api.call("PUT", "/v1/users/x/y", json={})) == "unknown_route"
    assert error_code(api.call("PUT", "/v1/items/x/", json={"text": "x"})) == "unknown_route"
    assert api.call("PUT", "/v1/users/x%2Finteractions", json={}).status_code == 204
    assert "x/interactions" in engine.users


def test_details_name_the_field_and_do_not_repeat_the_value(api: Api) -> None:
    body = [{"item_id": "i1"}, {"item_id": "i1", "value": "secret-value"}]
    response = api.call("POST", "/v1/users/u1/interactions", json=body)
    (detail,) = response.json()["error"]["details"]
    assert detail["field"].startswith("body")
    assert detail["field"].endswith("1.value")
    assert "secret-value" not in response.text


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_must_be_declared_as_json(api: Api, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    response = api.call("POST", "/v1/recommendations", content=b'{"user_id": "u1"}', headers=headers)
    assert (response.status_code, error_code(response)) == (415, "unsupported_media_type")


def test_parameters_of_the_media_type_are_fine(api: Api) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert api.call("POST", "/v1/recommendations", content=b'{"user_id": "u1"}', headers=headers).status_code == 200


def test_a_body_of_undeclared_length_is_cut_off_at_the_limit(api: Api) -> None:
    sent = []

    async def parts() -> AsyncIterator[bytes]:
        for number in range(1000):
            sent.append(number)
            yield b" " * 1000

    response = api.call("POST", "/v1/recommendations", content=parts(), headers=JSON)
    assert (response.status_code, error_code(response)) == (413, "body_too_large")
    assert len(sent) <= 12


def test_a_defect_tells_the_caller_nothing_and_the_log_the_place(api: Api, engine: FakeEngine) -> None:
    engine.failure = KeyError("u1 likes i0")
    response = api.call("POST", "/v1/recommendations", json={"user_id": "u1"})
    assert (response.status_code, error_code(response)) == (500, "internal")
    assert "likes" not in response.text
    log = api.log.getvalue().decode()
    assert "likes" not in log
    assert "KeyError" in log
    assert "fake_engine.py:" in log
    assert response.headers["x-request-id"] in log


def test_errors_of_the_engine_keep_their_code_and_status(api: Api, engine: FakeEngine) -> None:
    engine.failure = CorruptIndex("The index is broken; rebuild it.")
    response = api.call("POST", "/v1/recommendations", json={"user_id": "u1"})
    assert response.status_code == 500
    assert response.json() == {"error": {"code": "corrupt_index", "message": "The index is broken; rebuild it."}}
