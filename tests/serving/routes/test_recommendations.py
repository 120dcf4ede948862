from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from rag_rec.domain import Strategy
from tests.serving.conftest import error_code

if TYPE_CHECKING:
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


def test_the_answer_is_the_engines(api: Api) -> None:
    body = {"user_id": "u1", "k": 2, "strategy": "attention"}
    response = api.call("POST", "/v1/recommendations", json=body)
    reason = {"item_id": "i0", "event": "rating", "time": 1000, "weight": 1.0}
    assert response.json() == {
        "items": [
            {"item_id": "i2", "text": "Item 2", "score": 0.5, "sources": ["popularity"], "reasons": [reason]},
            {"item_id": "i3", "text": "Item 3", "score": 0.5, "sources": ["popularity"], "reasons": [reason]},
        ],
        "provenance": {
            "epoch": 0,
            "generation": "first",
            "strategy": "attention",
            "source": "candidates",
            "known_user": True,
            "evidence_tokens": 0,
            "model": None,
            "adapter": None,
            "label_mass": None,
            "fallback": None,
            "gate": None,
            "held_back": None,
        },
    }
    assert response.headers["cache-control"] == "no-store"


def test_the_engine_gets_what_was_asked(api: Api, engine: FakeEngine) -> None:
    body = {"user_id": "ü/1", "k": 50, "filters": "year > 1990", "strategy": "diversity", "deadline_ms": 60_000}
    api.call("POST", "/v1/recommendations", json=body)
    api.call("POST", "/v1/recommendations", json={"user_id": "u1"})
    full, plain = engine.requests
    assert (full.user_id, full.k, full.filters, full.strategy) == ("ü/1", 50, "year > 1990", Strategy.DIVERSITY)
    assert full.deadline_ms is not None
    assert 0 < full.deadline_ms <= 60_000
    assert (plain.k, plain.filters, plain.strategy, plain.deadline_ms) == (10, None, Strategy.PREFERENCE, None)


def test_an_unknown_user_gets_popular_items_and_is_told(api: Api) -> None:
    provenance = api.call("POST", "/v1/recommendations", json={"user_id": "nobody"}).json()["provenance"]
    assert (provenance["known_user"], provenance["source"]) == (False, "popularity")


def test_a_late_answer_is_refused(api: Api, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    response = api.call("POST", "/v1/recommendations", json={"user_id": "u1", "deadline_ms": 5})
    engine.gate.set()
    assert (response.status_code, error_code(response)) == (504, "deadline_exceeded")


def test_overload_is_refused_at_once_and_passes(api: Api, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    body = {"user_id": "u1"}
    running = api.start("POST", "/v1/recommendations", json=body)
    assert engine.entered.acquire(timeout=30)
    waiting = api.start("POST", "/v1/recommendations", json=body)
    while api.service.answers.pending < 2:
        api.portal.call(_turn)
    response = api.call("POST", "/v1/recommendations", json=body)
    assert (response.status_code, error_code(response)) == (503, "overloaded")
    assert response.headers["retry-after"] in {"1", "2", "3"}
    engine.gate.set()
    assert running.result(30).status_code == waiting.result(30).status_code == 200
    assert api.call("POST", "/v1/recommendations", json=body).status_code == 200


async def _turn() -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("query", "found"), [("", ["i0", "i2", "i3", "i4"]), ("?k=1", ["i0"]), ("?filters=nothing", [])]
)
def test_similar(api: Api, query: str, found: list[str]) -> None:
    items = api.call("GET", f"/v1/items/i1/similar{query}").json()["items"]
    assert [item["item_id"] for item in items] == found
    assert all(item["score"] == 0.25 for item in items)


def test_an_identifier_may_contain_slashes_and_percent_signs(api: Api) -> None:
    api.call("PUT", "/v1/items/a%2Fb%25c%20d", json={"text": "Odd"})
    assert api.call("GET", "/v1/items/a/b%25c%20d/similar?k=1").status_code == 404
    assert api.call("GET", "/v1/items/a%2Fb%25c%20d/similar?k=1").status_code == 200
