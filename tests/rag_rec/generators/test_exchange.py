"""What a hostile LLM server sends takes neither memory nor time, and counts against the server."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from rag_rec.explain.chat import OpenAIChat
from rag_rec.generators import vllm_server
from rag_rec.generators.breaker import Limits
from rag_rec.generators.exchange import read_json
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.vllm import Manners
from tests.rag_rec.generators.asking import QUESTION, Open, failure
from tests.rag_rec.generators.chat_server import ChatServer, event
from tests.rag_rec.generators.fake_server import FakeServer
from tests.rag_rec.generators.hostile_server import BOMB_MEBIBYTES, MEBIBYTE, Attack, HostileServer

SECONDS = 2.0  # a call that a busy machine begins with hardly any of it left is not held against the server
GENEROUS = 10.0  # seconds; the machine may be busy
MOST_MEMORY = 16 * MEBIBYTE
COMPLETIONS = "/v1/completions"
REASONS = {Attack.NOT_A_NUMBER: Reason.NOT_A_NUMBER, Attack.REDIRECT: Reason.REFUSED}
SLOW = {Attack.DRIPPING_HEADERS, Attack.DRIPPING_BODY, Attack.ENDLESS_INTERIM}
PATIENT = Manners(breaker=Limits(in_a_row=2, cool_down=1e9))


def reason_of(attack: Attack) -> Reason:
    return Reason.LATE if attack in SLOW else REASONS.get(attack, Reason.BROKEN)


@contextmanager
def within(seconds: float = GENEROUS, memory: int = MOST_MEMORY) -> Iterator[None]:
    """What runs inside takes no longer, and at no time more memory."""
    assert memory < BOMB_MEBIBYTES * MEBIBYTE
    tracemalloc.start()
    started = time.monotonic()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()
    assert time.monotonic() - started < seconds


@pytest.mark.parametrize("attack", Attack)
def test_a_hostile_completion_is_a_failure_in_time_and_opens_the_circuit(opened: Open, attack: Attack) -> None:
    with FakeServer() as elsewhere, HostileServer(attack, COMPLETIONS, elsewhere=elsewhere.url) as server:
        backend = opened(server, manners=PATIENT)
        with within():
            for _ in range(2):
                assert failure(backend, SECONDS) is reason_of(attack)
        assert failure(backend, SECONDS) is Reason.CIRCUIT_OPEN
        assert elsewhere.requests == []
        assert all(b"accept-encoding: identity" in head.lower() for head in server.headers)


@pytest.mark.parametrize("spoiled", ["/v1/models", "probe"])
@pytest.mark.parametrize("attack", Attack)
def test_a_hostile_first_meeting_is_a_failure_in_time(opened: Open, attack: Attack, spoiled: str) -> None:
    with HostileServer(attack, spoiled) as server:
        backend = opened(server, manners=PATIENT)
        with within():
            for _ in range(2):
                assert failure(backend, SECONDS) is not Reason.INTERNAL
        assert failure(backend, SECONDS) is Reason.CIRCUIT_OPEN


@pytest.mark.parametrize("attack", sorted(set(Attack) - {Attack.NOT_A_NUMBER, Attack.TWICE_THE_SAME, Attack.DEEP}))
def test_a_hostile_answer_to_loading_an_adapter_ends_in_time(
    opened: Open, attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "MANAGEMENT_SECONDS", SECONDS)
    with HostileServer(attack, "/v1/load_lora_adapter", "/v1/unload_lora_adapter") as server:
        backend = opened(server)
        with within():
            try:
                backend.use_adapter(tmp_path / ("a" * 32))
            except GeneratorFailure:
                return
        assert attack in {Attack.WRONG_TYPES, Attack.HUGE_NUMBER}  # only that it was taken is read of the answer


@pytest.mark.parametrize("spoiled", ["/v1/models", "/v1/chat/completions"])
@pytest.mark.parametrize("attack", Attack)
def test_a_hostile_chat_server_is_a_failure_in_time(attack: Attack, spoiled: str) -> None:
    with FakeServer() as elsewhere, HostileServer(attack, spoiled, elsewhere=elsewhere.url) as server:
        model = OpenAIChat(base_urls=(server.url,), most_seconds=SECONDS)
        with closing(model), within(), pytest.raises(GeneratorFailure) as failed:
            list(model.stream([HumanMessage("Why?")]))
        broken = attack is Attack.NOT_A_NUMBER  # no reply says a number that counts
        assert failed.value.reason is (Reason.BROKEN if broken else reason_of(attack))
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "line",
    [
        b"data: " + b"[" * 40_000 + b"\n\n",
        b'data: {"choices": [{"delta": {"content": ["a", "list"]}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": 7}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": ' + b"9" * 9_000 + b"}}]}\n\n",
        b'data: "choices"\n\n',
        b"x" * 2 * MEBIBYTE,
    ],
)
def test_a_hostile_piece_of_a_reply_is_a_failure(line: bytes) -> None:
    with ChatServer([line]) as server, pytest.raises(GeneratorFailure) as failed:
        model = OpenAIChat(base_urls=(server.url,), model_name="llm")
        list(model.stream([HumanMessage("Why?")]))
    model.close()
    assert failed.value.reason is Reason.BROKEN


def test_a_reply_without_an_end_is_cut_at_its_bound() -> None:
    with ChatServer([event("word " * 2000)] * 10_000) as server:
        model = OpenAIChat(base_urls=(server.url,), model_name="llm", most_tokens=10)
        with within(), pytest.raises(GeneratorFailure, match="longer than") as failed:
            list(model.stream([HumanMessage("Why?")]))
        model.close()
    assert failed.value.reason is Reason.BROKEN


def test_a_reply_whose_pieces_drip_ends_in_time() -> None:
    with HostileServer(Attack.DRIPPING_BODY, "/v1/chat/completions") as server:
        model = OpenAIChat(base_urls=(server.url,), model_name="llm", most_seconds=0.3, timeout_seconds=60.0)
        with within(), pytest.raises(GeneratorFailure, match="in time") as failed:
            list(model.stream([HumanMessage("Why?")]))
        model.close()
    assert failed.value.reason is Reason.LATE


def test_cookies_of_a_server_are_not_kept(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.rag_rec.generators.hostile_server.OK", b"HTTP/1.1 200 OK\r\nset-cookie: seen=1\r\n")
    with HostileServer(Attack.DEEP) as server:
        backend = opened(server)
        backend.label_log_probabilities([QUESTION], None)
        backend.label_log_probabilities([QUESTION], None)
        assert len(server.headers) >= 4
        assert not any(b"seen=1" in head for head in server.headers)


@pytest.mark.parametrize("content", [b"[" * 300 + b"]" * 300, b"9" * 9_000, b'"\xff"', b"{", b""])
def test_what_is_no_bounded_json_is_a_failure(content: bytes) -> None:
    with pytest.raises(GeneratorFailure, match="so it is"):
        read_json(content, "so it is")


def test_json_of_a_usual_depth_is_read() -> None:
    assert read_json(b"[" * 100 + b"]" * 100, "") != []
