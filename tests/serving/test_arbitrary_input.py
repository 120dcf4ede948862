"""Whatever is sent, the answer is one that the interface documents, and never a defect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rag_rec.validation import id_problem

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine

shared = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # the client is shared by all examples: every one has to hold in whatever state the others left

plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.sampled_from(["u1", "i1", "i2", "", "nobody", "a\x00"])
times = st.sampled_from([0, 5, "2026-01-31T12:00Z", "soon", 10**15])
fields = st.fixed_dictionaries(
    {},
    optional={
        "user_id": ids,
        "item_id": ids,
        "k": st.integers(-1, 60),
        "strategy": st.sampled_from(["preference", "diversity", "attention", "other"]),
        "scope": st.sampled_from(["user", "interactions", "other"]),
        "item_ids": st.lists(ids, max_size=3),
        "before": times,
        "after": times,
        "time": times,
        "event": texts,
        "value": plain | texts,
        "text": texts,
        "attributes": st.dictionaries(texts, plain | texts | st.lists(texts, max_size=3), max_size=3),
        "provider": texts,
        "dry_run": st.booleans(),
        "confirm": ids,
        "plan": ids,
        "user_ids": st.lists(ids, max_size=3),
        "interaction_ids": st.lists(st.integers(-1, 3) | texts, max_size=3),
        "reason": texts,
        "other": plain,
    },
)
values = st.recursive(plain | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10)
bodies = fields | st.lists(fields, max_size=3) | values
calls = st.sampled_from(
    [
        ("POST", "/v1/recommendations"),
        ("POST", "/v1/recommendations/explain"),
        ("POST", "/v1/users/u1/interactions"),
        ("PUT", "/v1/users/u1"),
        ("PUT", "/v1/items/i1"),
        ("POST", "/v1/forget"),
        ("POST", "/v1/forget/find"),
        ("PUT", "/v1/users/u1/hold"),
    ]
)


@given(calls, bodies)
@shared
def test_any_json(api: Api, call: tuple[str, str], body: Any) -> None:
    response = api.call(*call, content=orjson.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code != 500, response.text


@given(calls, st.binary(max_size=60))
@shared
def test_any_bytes(api: Api, call: tuple[str, str], body: bytes) -> None:
    response = api.call(*call, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 409, 422, 404, 200, 204), response.text


@given(st.text(max_size=30))
@shared
def test_every_identifier_comes_back_as_it_was_sent(api: Api, engine: FakeEngine, user_id: str) -> None:
    assume(id_problem(user_id) is None and user_id not in (".", ".."))  # clients resolve dots before they send
    address = f"/v1/users/{quote(user_id, safe='')}"
    assert api.call("PUT", address, json={"attributes": {}}).status_code == 204
    assert user_id in engine.users
    assert api.call("GET", f"{address}/export").json()["user"]["id"] == user_id
    assert api.forget(user_id).status_code == 200
    assert user_id not in engine.users


@given(st.binary(max_size=12))
@shared
def test_any_address(api: Api, raw: bytes) -> None:
    address = quote(raw, safe="/")
    assume(not {".", ".."} & set(address.split("/")))
    for method, suffix in (("GET", "/export"), ("DELETE", ""), ("PUT", "")):
        response = api.call(method, f"/v1/users/x{address}{suffix}", json={} if method == "PUT" else None)
        assert response.status_code in (204, 400, 404, 405, 409, 422), response.text
