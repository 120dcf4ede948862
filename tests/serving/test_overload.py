"""Beyond its limit the service refuses before it spends anything, and what must not wait is never refused."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from serving.app import ROUTERS, create_app
from serving.overload import Gate
from tests.serving.listening import HEADERS, running, wait_until_ready

if TYPE_CHECKING:
    from serving.service import Service
    from tests.serving.fake_engine import FakeEngine


def routes(service: Service) -> set[tuple[str, str, str]]:
    gate = Gate(create_app(service), service, [route for router in ROUTERS for route in router.routes])
    return {(guarded.method, guarded.template, guarded.lane.name) for guarded in gate.guarded}


def test_recommendations_and_changes_are_guarded_and_nothing_else(service: Service) -> None:
    assert routes(service) == {
        ("POST", "/v1/recommendations", "answers"),
        ("GET", "/v1/items/{item_id}/similar", "answers"),
        ("POST", "/v1/recommendations/explain", "explanations"),
        ("POST", "/v1/users/{user_id}/interactions", "changes"),
        ("PUT", "/v1/users/{user_id}", "changes"),
        ("PUT", "/v1/items/{item_id}", "changes"),
    }


@pytest.mark.parametrize("headers", [HEADERS, {}, {"X-API-Key": "nobody's"}])
def test_a_crowded_lane_refuses_unread_and_the_others_answer(
    service: Service, engine: FakeEngine, headers: dict[str, str]
) -> None:
    gate = engine.gate = threading.Event()
    with running(service, lambda: engine) as (_, url), httpx.Client(base_url=url, headers=HEADERS) as client:
        engine.gate = None
        wait_until_ready(client)
        engine.gate = gate
        waiting = [threading.Thread(target=httpx.post, args=(f"{url}/v1/recommendations",), kwargs=CALL) for _ in "12"]
        for thread in waiting:
            thread.start()
        while service.answers.pending < 2:  # one that runs, and one that may wait
            pass
        refused = httpx.post(f"{url}/v1/recommendations", content=b"no JSON", headers=headers)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.headers["retry-after"] in {"1", "2", "3"}
        assert len(refused.headers["x-request-id"]) == 16
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 200
        engine.gate = None
        assert client.delete("/v1/users/u1?dry_run=true").status_code == 200
        assert client.put("/v1/users/u1/hold", json={"reason": "case"}).status_code == 204
        gate.set()
        for thread in waiting:
            thread.join(60)
        assert client.post("/v1/recommendations", json={"user_id": "u1"}).status_code == 200
    labels = {"method": "POST", "route": "/v1/recommendations", "status": "503"}
    assert service.metrics.registry.get_sample_value("ragrec_http_requests_total", labels) == 1


CALL = {"json": {"user_id": "u1"}, "headers": HEADERS, "timeout": 60}
