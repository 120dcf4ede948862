from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from rag_rec.explain.chat import OpenAIChat
from rag_rec.generators.failures import GeneratorFailure, Reason
from tests.rag_rec.generators.chat_server import ChatServer, event

MESSAGES = [SystemMessage("Be brief."), HumanMessage("Why?")]


def chat(*servers: ChatServer | str, **options: Any) -> OpenAIChat:
    urls = tuple(server if isinstance(server, str) else server.url for server in servers)
    return OpenAIChat(base_urls=urls, **{"model_name": "llm", **options})


def said(model: OpenAIChat) -> list[str]:
    try:
        return [str(chunk.text) for chunk in model.stream(MESSAGES) if chunk.text]
    finally:
        model.close()


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_reply_comes_in_pieces() -> None:
    role = b'data: {"choices": [{"delta": {"role": "assistant"}}]}\n\n'
    usage = b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\n: a comment\n\n'
    with ChatServer([role, "Be", "cause ", usage, "ü."]) as server:
        assert said(chat(server, key="secret")) == ["Be", "cause ", "ü."]
        (body,), (key,) = server.bodies, server.keys
    assert key == "Bearer secret"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert (body["model"], body["stream"], body["max_tokens"], body["temperature"]) == ("llm", True, 200, 0.0)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


def test_the_model_that_is_listed_first_is_asked_where_none_is_named() -> None:
    with ChatServer(["Yes."]) as server:
        assert said(chat(server, model_name=None)) == ["Yes."]
        assert server.bodies[0]["model"] == "first"
        for listed in (b"[]", b'{"data": []}', b"<html>"):
            server.models = listed
            with pytest.raises(GeneratorFailure, match="which models") as failed:
                said(chat(server, model_name=None))
            assert failed.value.reason is Reason.BROKEN


def test_every_request_has_a_salt_of_its_own() -> None:
    with ChatServer(["Yes."]) as server:
        model = chat(server)
        assert [model.invoke(MESSAGES).text for _ in range(2)] == ["Yes.", "Yes."]
        model.close()
        salts = [body["cache_salt"] for body in server.bodies]
    assert salts[0] != salts[1]


def test_other_servers_get_nothing_that_only_vllm_knows() -> None:
    with ChatServer(["Yes."]) as server:
        said(chat(server.url + "/v1/", vllm=False, most_tokens=7, temperature=0.5))
        assert server.bodies[0].keys() == {"model", "messages", "max_tokens", "temperature", "stream"}
        assert server.bodies[0]["max_tokens"] == 7


def test_another_server_is_asked_where_one_is_absent_or_busy() -> None:
    with ChatServer(status=503) as busy, ChatServer(["Yes."]) as good:
        assert said(chat(nobody(), busy, good)) == ["Yes."]
        assert (len(busy.bodies), len(good.bodies)) == (1, 1)


@pytest.mark.parametrize(
    ("pieces", "status", "ends", "reason"),
    [
        ([], 503, True, Reason.OVERLOADED),
        ([], 404, True, Reason.WRONG_MODEL),
        ([], 401, True, Reason.REFUSED),
        ([], 500, True, Reason.REFUSED),
        (["Yes"], 200, False, Reason.BROKEN),
        ([b"data: {broken\n\n"], 200, True, Reason.BROKEN),
        ([b'data: {"error": {"message": "Why? is personal"}}\n\n'], 200, True, Reason.BROKEN),
        ([b'data: {"choices": [{}]}\n\n'], 200, True, Reason.BROKEN),
        ([b"data: 7\n\n"], 200, True, Reason.BROKEN),
    ],
)
def test_failures_have_a_reason_and_quote_nothing(
    pieces: Sequence[str | bytes], status: int, ends: bool, reason: Reason
) -> None:
    with ChatServer(pieces, status, ends=ends) as server, pytest.raises(GeneratorFailure) as failed:
        said(chat(server))
    assert failed.value.reason is reason
    assert "Why?" not in str(failed.value)


def test_an_absent_and_a_silent_server() -> None:
    with pytest.raises(GeneratorFailure) as failed:
        said(chat(nobody()))
    assert failed.value.reason is Reason.ABSENT
    gate = threading.Event()
    with ChatServer(["Yes", "never"], gate=gate) as server, pytest.raises(GeneratorFailure) as failed:
        said(chat(server, timeout_seconds=0.05))
    assert failed.value.reason is Reason.LATE


def test_a_reply_that_is_not_read_to_its_end_is_broken_off() -> None:
    endless = [event("word " * 2000)] * 2000
    with ChatServer(endless) as server:
        model = chat(server)
        pieces = model.stream(MESSAGES)
        assert len(list(itertools.islice(pieces, 2))) == 2
        pieces.close()  # type: ignore[attr-defined]
        assert server.broken_off.wait(30)
        model.close()
