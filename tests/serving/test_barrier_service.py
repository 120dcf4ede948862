"""Removals over HTTP: what was begun before one leaves before it is acknowledged, or never."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from rag_rec.errors import Unfinished
from rag_rec.forgetting.request import ForgetRequest
from serving.barrier import Passage
from serving.limits import Limits
from tests.serving.conftest import error_code
from tests.serving.listening import HEADERS, running, wait_until_ready

if TYPE_CHECKING:
    from serving.service import Service
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[Passage]:
    """The answers that a removal would wait for."""
    passages: list[Passage] = []

    def enter(passage: Passage, term: int | None = None) -> None:  # noqa: ARG001 - as it is called
        passages.append(passage)

    monkeypatch.setattr(Passage, "enter", enter)
    return passages


def under_way(api: Api, engine: FakeEngine) -> tuple[Any, threading.Event]:
    """A recommendation that is being computed, and the gate that it waits for."""
    gate = engine.gate = threading.Event()
    answer = api.start("POST", "/v1/recommendations", json={"user_id": "u3"})
    assert engine.entered.acquire(timeout=30)
    engine.gate = None
    return answer, gate


def remove(api: Api, plan: str) -> Any:
    """A removal that has been carried out and not been acknowledged yet."""
    drained, drain = asyncio.Event(), api.service.barrier.drain

    async def noticed(*args: Any, **options: Any) -> int:
        drained.set()
        return await drain(*args, **options)

    api.service.barrier.drain = noticed  # type: ignore[method-assign]
    removal = api.start("DELETE", f"/v1/users/u1?confirm=u1&plan={plan}")
    api.portal.call(asyncio.wait_for, drained.wait(), 30)
    return removal


def answered(api: Api) -> list[str]:
    """Routes of the requests that have been answered, in order."""
    lines = [json.loads(line) for line in api.log.getvalue().splitlines()]
    return [line["route"] for line in lines if line["event"] == "request"]


def test_it_is_acknowledged_after_every_answer_that_was_begun_before(api: Api, engine: FakeEngine) -> None:
    plan = engine.officer.plan(ForgetRequest.of("u1")).plan
    assert engine.entered.acquire(timeout=30)
    answer, gate = under_way(api, engine)
    removal = remove(api, plan)
    assert "u1" not in engine.users
    gate.set()
    assert removal.result(30).status_code == 200
    assert answer.result(30).status_code == 200
    assert answered(api) == ["/v1/recommendations", "/v1/users/{user_id}"]


def test_what_takes_too_long_is_cut_off(api: Api, engine: FakeEngine) -> None:
    api.service.limits = Limits(barrier_seconds=0.001)
    plan = engine.officer.plan(ForgetRequest.of("u1")).plan
    assert engine.entered.acquire(timeout=30)
    answer, gate = under_way(api, engine)
    assert remove(api, plan).result(30).status_code == 200
    response = answer.result(30)
    assert (response.status_code, error_code(response)) == (503, "answer_void")
    assert api.service.metrics.registry.get_sample_value("ragrec_answers_cut_off_total") == 1
    assert b"answers_cut_off" in api.log.getvalue()
    gate.set()


def test_an_unfinished_removal_is_in_force_too(api: Api, engine: FakeEngine) -> None:
    answer, gate = under_way(api, engine)
    engine.failure = Unfinished("It will be taken up again.")
    removal = remove(api, "p")
    engine.failure = None
    gate.set()
    assert removal.result(30).status_code == 503
    assert answer.result(30).status_code == 200
    assert answered(api) == ["/v1/recommendations", "/v1/users/{user_id}"]


def test_a_repetition_cuts_nothing_off(api: Api, engine: FakeEngine) -> None:
    api.service.limits = Limits(barrier_seconds=0.001)
    assert api.forget("u1").status_code == 200
    while engine.entered.acquire(blocking=False):
        pass
    answer, gate = under_way(api, engine)
    (plan,) = engine.outcomes
    assert remove(api, plan).result(30).json()["repeated"] is True
    gate.set()
    assert answer.result(30).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "personal"),
    [
        ("POST", "/v1/recommendations", {"user_id": "u1"}, True),
        ("POST", "/v1/recommendations", {"user_id": ""}, False),
        ("POST", "/v1/recommendations/explain", {"user_id": "u1"}, True),
        ("GET", "/v1/users/u1/export", None, True),
        ("DELETE", "/v1/users/u1?dry_run=true", None, False),
        ("GET", "/v1/forget", None, False),
        ("GET", "/metrics", None, False),
    ],
)
def test_removals_wait_for_personal_answers_only(
    api: Api, entered: list[Passage], method: str, path: str, body: Any, personal: bool
) -> None:
    api.call(method, path, json=body)
    assert len(entered) == personal


def test_a_caller_without_a_key_or_a_body_holds_up_nothing(api: Api, entered: list[Passage]) -> None:
    assert api.call("GET", "/v1/users/u1/export", None).status_code == 401
    assert api.call("POST", "/v1/recommendations", content=b"{").status_code == 415
    assert entered == []


class Gated(GenericFakeChatModel):
    """Says its words when it may."""

    gate: threading.Event

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        assert self.gate.wait(30)
        yield from super()._stream(messages, *args, **kwargs)


def test_an_explanation_that_is_being_written_is_cut_off(service: Service, engine: FakeEngine) -> None:
    service.limits = Limits(barrier_seconds=0.001)
    gate = threading.Event()
    engine.chat = Gated(messages=itertools.repeat("You rated it [1]."), gate=gate)
    with (
        running(service, lambda: engine) as (_, url),
        httpx.Client(base_url=url, headers=HEADERS, timeout=60) as client,
    ):
        wait_until_ready(client)
        plan = client.delete("/v1/users/u1?dry_run=true").json()["plan"]
        with client.stream("POST", "/v1/recommendations/explain", json={"user_id": "u1", "k": 1}) as response:
            arriving = response.iter_bytes()
            assert b"event: item" in next(arriving)
            assert client.delete(f"/v1/users/u1?confirm=u1&plan={plan}").status_code == 200
            gate.set()
            with pytest.raises(httpx.RemoteProtocolError):
                list(arriving)
