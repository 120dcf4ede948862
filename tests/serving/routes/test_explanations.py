from __future__ import annotations

import itertools
import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from rag_rec.explain.chat import OpenAIChat
from rag_rec.generators.failures import GeneratorFailure, Reason
from serving.errors import DeadlineExceeded
from tests.rag_rec.generators.chat_server import ChatServer
from tests.serving.conftest import error_code
from tests.serving.listening import HEADERS, running, wait_until_ready

if TYPE_CHECKING:
    from serving.service import Service
    from tests.serving.conftest import Api
    from tests.serving.fake_engine import FakeEngine

PATH = "/v1/recommendations/explain"


def events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """The names and the data of server-sent events, as they come."""
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def explained(api: Api, **fields: Any) -> list[tuple[str, Any]]:
    response = api.call("POST", PATH, json={"user_id": "u1", **fields})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    return list(events(iter(response.text.splitlines())))


class Broken(GenericFakeChatModel):
    """Says some words, then raises."""

    error: Exception

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        yield from super()._stream(messages, *args, **kwargs)
        raise self.error


def test_one_item_is_explained_from_its_reasons(api: Api) -> None:
    evidence = {"number": 1, "item_id": "i0", "text": "Item 0", "event": "rating", "time": 1000, "weight": 1.0}
    item = {"item_id": "i3", "text": "Item 3", "score": 0.5, "sources": ["popularity"], "evidence": [evidence]}
    first, token, done = explained(api, item_id="i3")
    assert first == ("item", item)
    assert token == ("token", {"text": "You rated it [1]. "})
    assert done[0] == "done"
    assert done[1]["explanations"] == [{"item_id": "i3", "cited": [1], "removed": 1, "written_by": "llm"}]
    plain = api.call("POST", "/v1/recommendations", json={"user_id": "u1"}).json()
    assert done[1]["provenance"] == plain["provenance"]


def test_every_item_is_explained_where_none_is_named(api: Api, engine: FakeEngine) -> None:
    names = [name for name, _ in explained(api, k=2, strategy="diversity", filters="year > 1990")]
    assert names == ["item", "token", "item", "token", "done"]
    (request,) = engine.requests
    assert (request.k, request.strategy, request.filters) == (2, "diversity", "year > 1990")


def test_a_user_without_history_is_told_without_the_llm(api: Api, engine: FakeEngine) -> None:
    engine.chat = Broken(messages=iter([]), error=AssertionError())
    (_, _), (_, token), (name, done) = explained(api, user_id="nobody", k=1)
    assert "proposed by: popularity" in token["text"]
    assert (name, done["explanations"][0]["written_by"]) == ("done", "template")


def test_nothing_to_recommend_is_explained_at_once(api: Api, engine: FakeEngine) -> None:
    engine.items.clear()
    assert [(name, data["explanations"]) for name, data in explained(api)] == [("done", [])]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"user_id": "u1", "item_id": "i0"}, 422, "invalid_input"),
        ({"user_id": "u1", "item_id": ""}, 422, "invalid_input"),
        ({"user_id": "u1", "k": 51}, 422, "invalid_input"),
        ({"user_id": "u1", "items": ["i3"]}, 422, "invalid_input"),
        ({}, 422, "invalid_input"),
    ],
)
def test_what_cannot_be_explained_is_refused(api: Api, body: dict[str, Any], status: int, code: str) -> None:
    response = api.call("POST", PATH, json=body)
    assert (response.status_code, error_code(response)) == (status, code)


def test_without_an_llm_the_caller_is_told(api: Api, engine: FakeEngine) -> None:
    engine.chat = None
    response = api.call("POST", PATH, json={"user_id": "u1"})
    assert (response.status_code, error_code(response)) == (503, "not_ready")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GeneratorFailure(Reason.BROKEN, "The connection broke off."), "generator_failed"),
        (ValueError("u1 is personal"), "generator_failed"),
    ],
)
def test_what_fails_on_the_way_ends_the_stream_with_an_error(
    api: Api, engine: FakeEngine, error: Exception, code: str
) -> None:
    engine.chat = Broken(messages=iter(["You rated it [1]. And"]), error=error)
    *before, (name, data) = explained(api, item_id="i3")
    assert [each for each, _ in before] == ["item", "token"]
    assert (name, data["error"]["code"]) == ("error", code)
    assert "personal" not in json.dumps(data) + api.log.getvalue().decode()


def test_a_defect_on_the_way_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise ValueError("u1 is personal")

    monkeypatch.setattr("serving.routes.explanations._ending", defect)
    name, data = explained(api, item_id="i3")[-1]
    assert (name, data["error"]["code"]) == ("error", "internal")
    log = api.log.getvalue().decode()
    assert "ValueError" in log
    assert "personal" not in json.dumps(data) + log


def test_a_late_answer_is_refused(api: Api, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    response = api.call("POST", PATH, json={"user_id": "u1", "deadline_ms": 5})
    engine.gate.set()
    assert (response.status_code, error_code(response)) == (504, "deadline_exceeded")


def test_a_deadline_on_the_way_ends_the_stream_with_an_error(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(*_: object) -> AsyncIterator[bytes]:
        yield b"event: item\ndata: {}\n\n"
        raise DeadlineExceeded("Too late.")

    monkeypatch.setattr("serving.routes.explanations.stream", late)
    assert explained(api, deadline_ms=60_000) == [
        ("item", {}),
        ("error", {"error": {"code": "deadline_exceeded", "message": "Too late."}}),
    ]


def test_overload_is_refused_at_once(api: Api, engine: FakeEngine) -> None:
    engine.gate = threading.Event()
    threads, waiting = api.service.limits.explanation_threads, api.service.limits.waiting
    under_way = [api.start("POST", PATH, json={"user_id": "u1", "k": 1}) for _ in range(threads + waiting)]
    while api.service.explanations.pending < threads + waiting:
        api.portal.call(_turn)
    response = api.call("POST", PATH, json={"user_id": "u1"})
    assert (response.status_code, error_code(response)) == (503, "overloaded")
    engine.gate.set()
    assert {call.result(30).status_code for call in under_way} == {200}


async def _turn() -> None:
    pass


def test_recommendations_go_on_while_explanations_are_written(api: Api, engine: FakeEngine) -> None:
    gate = threading.Event()
    with ChatServer(["You rated it [1]. It", " is good."], gate=gate) as server:
        engine.chat = OpenAIChat(base_urls=(server.url,), model_name="llm")
        writing = [api.start("POST", PATH, json={"user_id": "u1", "item_id": "i3"}) for _ in range(4)]
        assert api.call("POST", "/v1/recommendations", json={"user_id": "u1"}).status_code == 200
        gate.set()
        texts = [call.result(30).text for call in writing]
    assert all("event: done" in text for text in texts)


def test_the_text_arrives_while_it_is_written_and_leaving_stops_it(service: Service, engine: FakeEngine) -> None:
    # An invisible character adds nothing to a text, so this one is never too long, and only the caller can end it.
    endless = itertools.chain(["It is so good [1]. ", "And"], itertools.repeat("\u200b"))
    with (
        ChatServer(endless) as chat_server,
        running(service, lambda: engine) as (_, url),
        httpx.Client(base_url=url, headers=HEADERS, timeout=60) as client,
    ):
        chat = engine.chat = OpenAIChat(base_urls=(chat_server.url,), model_name="llm")
        wait_until_ready(client)
        with client.stream("POST", PATH, json={"user_id": "u1", "k": 3}) as response:
            arriving = events(response.iter_lines())
            assert [next(arriving)[0] for _ in range(2)] == ["item", "token"]
        assert chat_server.broken_off.wait(30)
        chat.close()
    assert len(chat_server.bodies) == 1
