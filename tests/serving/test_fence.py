"""A service that was silent for too long sends nothing personal that it began before."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from serving.limits import Limits
from tests.serving.conftest import error_code
from tests.serving.fake_engine import FakeAttendance
from tests.serving.listening import HEADERS, running, wait_until_ready

if TYPE_CHECKING:
    from serving.service import Service
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


@pytest.mark.parametrize("now", [None, 1])
def test_an_answer_of_an_earlier_term_does_not_leave(api: Api, engine: FakeEngine, now: int | None) -> None:
    gate = engine.gate = threading.Event()
    answer = api.start("POST", "/v1/recommendations", json={"user_id": "u3"})
    assert engine.entered.acquire(timeout=30)
    engine.present_term = now
    gate.set()
    response = answer.result(30)
    assert (response.status_code, error_code(response)) == (503, "answer_void")
    assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/recommendations"), ("GET", "/v1/users/u1/export")])
def test_nothing_personal_leaves_while_the_lease_is_over(api: Api, engine: FakeEngine, method: str, path: str) -> None:
    engine.present_term = None
    body = {"user_id": "u1"} if method == "POST" else None
    response = api.call(method, path, json=body)
    assert (response.status_code, error_code(response)) == (503, "answer_void")
    assert "u1" not in response.text
    engine.present_term = 7
    assert api.call(method, path, json=body).status_code == 200


def test_what_is_not_personal_is_answered(api: Api, engine: FakeEngine) -> None:
    engine.present_term = None
    assert api.call("GET", "/healthz", None).status_code == 200
    assert api.call("GET", "/v1/forget").status_code == 200


def test_a_stream_ends_where_the_lease_does(
    service: Service, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    terms = iter([0, 0, 0])  # at the beginning, before the head, and before the first part
    with running(service, lambda: engine) as (_, url), httpx.Client(base_url=url, headers=HEADERS) as client:
        wait_until_ready(client)
        monkeypatch.setattr(FakeAttendance, "term", property(lambda _: next(terms, None)))
        with (
            pytest.raises(httpx.RemoteProtocolError),
            client.stream("POST", "/v1/recommendations/explain", json={"user_id": "u1"}) as response,
        ):
            response.read()


def test_removals_are_attended_to_however_long_a_refresh_takes(
    service: Service, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, attended = threading.Event(), threading.Event()

    def refresh() -> bool:
        return not held.wait(30)

    def attend() -> bool:
        attended.set()
        return True

    monkeypatch.setattr(engine, "refresh", refresh)
    service.limits = Limits(refresh_seconds=0.01, attend_seconds=0.01)
    with running(service, lambda: engine) as (_, url), httpx.Client(base_url=url) as client:
        wait_until_ready(client)
        monkeypatch.setattr(engine.attendance, "attend", attend)
        attended.clear()
        assert attended.wait(30)
        held.set()


def test_what_fails_while_attending_is_logged_and_tried_again(
    service: Service, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Semaphore(0)

    def attend() -> bool:
        failed.release()
        raise OSError

    service.limits = Limits(refresh_seconds=0.01, attend_seconds=0.01)
    with running(service, lambda: engine) as (_, url), httpx.Client(base_url=url) as client:
        wait_until_ready(client)
        monkeypatch.setattr(engine.attendance, "attend", attend)
        assert all(failed.acquire(timeout=30) for _ in range(3))
        assert client.get("/healthz").status_code == 200
