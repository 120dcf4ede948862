"""The interface's description is true: every documented call answers as documented, and nothing else answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from serving import forget_schemas, schemas
from serving.auth import Role

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine

# One call for each documented operation: (method, template) -> (path, role, body, status)
CALLS: dict[tuple[str, str], tuple[str, Role | None, Any, int]] = {
    ("POST", "/v1/recommendations"): ("/v1/recommendations", Role.RECOMMEND, {"user_id": "u1"}, 200),
    ("POST", "/v1/recommendations/explain"): (
        "/v1/recommendations/explain",
        Role.RECOMMEND,
        {"user_id": "u1", "item_id": "i2"},
        200,
    ),
    ("GET", "/v1/items/{item_id}/similar"): ("/v1/items/i1/similar?k=2", Role.RECOMMEND, None, 200),
    ("POST", "/v1/users/{user_id}/interactions"): ("/v1/users/u1/interactions", Role.INGEST, {"item_id": "i2"}, 200),
    ("PUT", "/v1/users/{user_id}"): ("/v1/users/u2", Role.INGEST, {"attributes": {"age": 9}}, 204),
    ("PUT", "/v1/items/{item_id}"): ("/v1/items/i9", Role.INGEST, {"text": "New"}, 204),
    ("GET", "/v1/users/{user_id}/export"): ("/v1/users/u1/export", Role.PRIVACY, None, 200),
    ("DELETE", "/v1/users/{user_id}"): ("/v1/users/u1?dry_run=true", Role.PRIVACY, None, 200),
    ("POST", "/v1/forget"): (
        "/v1/forget",
        Role.PRIVACY,
        {"user_id": "u1", "scope": "interactions", "item_ids": ["i0"], "dry_run": True},
        200,
    ),
    ("GET", "/v1/forget"): ("/v1/forget?pending=true&limit=5", Role.PRIVACY, None, 200),
    ("POST", "/v1/forget/find"): ("/v1/forget/find", Role.PRIVACY, {"user_id": "u1"}, 200),
    ("GET", "/v1/forget/{request}"): ("/v1/forget/r1", Role.PRIVACY, None, 200),
    ("GET", "/v1/forget/{request}/receipt"): ("/v1/forget/r1/receipt", Role.PRIVACY, None, 200),
    ("POST", "/v1/forget/{request}/prove"): ("/v1/forget/r1/prove", Role.PRIVACY, None, 200),
    ("GET", "/v1/receipts/key"): ("/v1/receipts/key", Role.METRICS, None, 200),
    ("PUT", "/v1/users/{user_id}/hold"): ("/v1/users/u1/hold", Role.PRIVACY, {"reason": "case 17"}, 204),
    ("DELETE", "/v1/users/{user_id}/hold"): ("/v1/users/u1/hold", Role.PRIVACY, None, 204),
    ("GET", "/v1/holds"): ("/v1/holds", Role.PRIVACY, None, 200),
    ("GET", "/v1/audit"): ("/v1/audit", Role.PRIVACY, None, 200),
    ("POST", "/v1/users/{user_id}/consent"): ("/v1/users/u1/consent", Role.PRIVACY, None, 200),
    ("GET", "/healthz"): ("/healthz", None, None, 200),
    ("GET", "/readyz"): ("/readyz", None, None, 200),
    ("GET", "/metrics"): ("/metrics", Role.METRICS, None, 200),
    ("GET", "/openapi.json"): ("/openapi.json", Role.INGEST, None, 200),
}
PROTECTED = {operation: call for operation, call in CALLS.items() if call[1] is not None}


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, item in document["paths"].items() for method in item}


def test_every_documented_operation_is_called_here(api: Api) -> None:
    assert operations(api.contract.document) == set(CALLS)


def test_every_route_is_documented(api: Api) -> None:
    document = api.contract.document
    for method, path in [("GET", "/docs"), ("GET", "/redoc"), ("GET", "/"), ("GET", "/v1"), ("POST", "/v1/anything")]:
        assert api.call(method, path).status_code == 404, (method, path)
    for path, item in document["paths"].items():
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {name.upper() for name in item}:
            concrete = path.replace("{item_id}", "x").replace("{user_id}", "x").replace("{request}", "x")
            if api.contract.template(method, concrete) is None:
                assert api.call(method, concrete).status_code in (404, 405), (method, concrete)


@pytest.mark.parametrize("operation", CALLS, ids=" ".join)
def test_it_answers_as_documented(api: Api, engine: FakeEngine, operation: tuple[str, str]) -> None:
    path, role, body, status = CALLS[operation]
    if "forget/" in path or "consent" in path:
        assert api.forget("u1").status_code == 200
        assert "r1" in engine.records
    if operation == ("DELETE", "/v1/users/{user_id}/hold"):
        engine.officer.hold("u1", "case 17")
    response = api.call(operation[0], path, role, json=body)
    assert response.status_code == status, response.text
    assert (*operation, status) in api.contract.seen


@pytest.mark.parametrize("operation", PROTECTED, ids=" ".join)
def test_it_needs_a_key(api: Api, engine: FakeEngine, operation: tuple[str, str]) -> None:
    path, _, body, _ = PROTECTED[operation]
    before = engine.epoch
    assert api.call(operation[0], path, None, json=body).status_code == 401
    assert api.call(operation[0], path, None, json=body, headers={"X-API-Key": "wrong"}).status_code == 401
    assert engine.epoch == before


@pytest.mark.parametrize("operation", PROTECTED, ids=" ".join)
def test_it_needs_the_documented_role(api: Api, operation: tuple[str, str]) -> None:
    path, _, body, _ = PROTECTED[operation]
    security = api.contract.document["paths"][operation[1]][operation[0].lower()]["security"]
    documented = security[0]["bearer"]
    assert all(list(option.values()) == [documented] for option in security)
    for role in Role:
        allowed = not documented or role.value in (*documented, "admin")
        response = api.call(operation[0], path, role.value, json=body)
        assert (response.status_code != 403) == allowed, role


def test_the_health_checks_need_none(api: Api) -> None:
    document = api.contract.document
    assert {path for path, item in document["paths"].items() if "security" not in next(iter(item.values()))} == {
        "/healthz",
        "/readyz",
    }
    assert api.call("GET", "/healthz", None).json() == {"status": "alive"}


def test_the_largest_k_is_that_of_the_settings(api: Api) -> None:
    document = api.contract.document
    for body in ("RecommendationBody", "ExplanationBody"):
        assert document["components"]["schemas"][body]["properties"]["k"]["maximum"] == 50


def test_examples_fit_their_own_schemas(api: Api) -> None:
    for name in ("RecommendationBody", "ExplanationBody", "Event", "UserBody", "ItemBody", "ForgetBody", "HoldBody"):
        model = getattr(schemas, name, None) or getattr(forget_schemas, name)
        for example in api.contract.document["components"]["schemas"][name]["examples"]:
            model.model_validate(example)
