"""What keeps the LLM from being asked is told: in the log once, in status and readiness, and in every answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rag_rec.clock import now_ms
from rag_rec.domain import RecommendationRequest, Source
from rag_rec.engine.engine import Engine
from rag_rec.generators import watch
from rag_rec.generators.condition import OTHER, WORDS, ConditionKeeper, Standing, in_words
from rag_rec.generators.failures import Reason
from rag_rec.home.opening import store_of
from rag_rec.recommend import opening
from rag_rec.recommend.opening import OpenRanking
from rag_rec.recommend.ranker import BYPASSED, NOT_MEASURED, WITHHELD
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.homes import build, fill, settings_for
from tests.indexer.compact_homes import LOG
from tests.rag_rec.generators.asking import LONG
from tests.rag_rec.generators.fake_server import FakeServer
from tests.rag_rec.generators.hostile_server import Attack, HostileServer
from tests.rag_rec.generators.models import tiny_chat_model

REQUEST = RecommendationRequest("user-3", k=3)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = settings_for(tmp_path_factory.mktemp("home"))
    fill(settings, LOG)
    build(settings)
    return settings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("chat")
    tiny_chat_model(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(opening, "FIRST_LOOK_SECONDS", LONG)
    monkeypatch.setattr(watch, "BETWEEN_SECONDS", 0.0)


def on_vllm(home: Settings, url: str, model: str) -> Settings:
    return home.model_copy(update={"generator": "vllm", "generator_urls": [url], "generator_model": model})


@pytest.fixture
def free_url() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def test_a_wrong_model_folder_is_the_reason_everywhere_and_logged_once(home: Settings, tmp_path: Path) -> None:
    missing = str(tmp_path / "no-such-model")
    with FakeServer() as server, capture_logs() as logs:
        engine = Engine.open(on_vllm(home, server.url, missing), embedder=HashEmbedder())
        with closing(engine):
            for _ in range(3):
                engine.refresh()
            answers = [engine.recommend(REQUEST).provenance for _ in range(3)]
            condition = engine.status().generator
    assert {(each.source, each.fallback) for each in answers} == {(Source.CANDIDATES, Reason.MODEL_NOT_FOUND)}
    assert (condition.state, condition.reason) == (Standing.DOWN, Reason.MODEL_NOT_FOUND)
    assert condition.since is not None and condition.since <= now_ms()
    assert "RAGREC_GENERATOR_MODEL" in condition.detail
    assert str(tmp_path) not in condition.detail
    told = [line for line in logs if line["event"].startswith("generator")]
    assert [(line["event"], line["log_level"], line["reason"]) for line in told] == [
        ("generator_down", "warning", Reason.MODEL_NOT_FOUND)
    ]


def test_a_server_that_is_away_is_the_reason_until_it_comes(home: Settings, model: str) -> None:
    with FakeServer() as server, capture_logs() as logs:
        settings = on_vllm(home, server.url, model)
        with closing(store_of(home)) as store, closing(OpenRanking(settings, store)) as source:
            assert (source.condition.state, source.condition.reason) == (Standing.UP, NOT_MEASURED)
            server.stop()
            source.refresh(LONG)
            away = source.condition
            assert (away.state, away.reason) == (Standing.DOWN, Reason.ABSENT)
            assert source.current.why_not() == Reason.ABSENT
            source.refresh(LONG)
            assert source.condition.since == away.since
    assert [line["reason"] for line in logs if line["event"] == "generator_down"] == [Reason.ABSENT]


def test_a_server_that_comes_is_noticed(home: Settings, model: str, free_url: str) -> None:
    with closing(store_of(home)) as store, FakeServer() as server, capture_logs() as logs:
        settings = on_vllm(home, server.url, model).model_copy(update={"generator_served_name": "later"})
        with closing(OpenRanking(settings, store)) as source:
            assert source.condition.reason == Reason.WRONG_MODEL
            server.model = "later"
            source.refresh(LONG)
            assert source.condition.state is Standing.UP
        with closing(OpenRanking(on_vllm(home, free_url, model), store)) as source:
            assert source.condition.reason == Reason.ABSENT
    assert [line["event"] for line in logs if line["event"].startswith("generator")] == [
        "generator_down",
        "generator_up",
        "generator_down",
    ]


def test_one_server_that_is_well_is_enough(home: Settings, model: str, free_url: str) -> None:
    with FakeServer() as server, closing(store_of(home)) as store:
        settings = on_vllm(home, free_url, model).model_copy(update={"generator_urls": [free_url, server.url]})
        with closing(OpenRanking(settings, store)) as source:
            assert source.condition.state is Standing.UP


def test_looking_at_a_server_that_hangs_does_not_hold_up_a_refresh(
    home: Settings, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "FIRST_LOOK_SECONDS", 0.0)
    with HostileServer(Attack.DRIPPING_HEADERS, "/v1/models") as server, closing(store_of(home)) as store:
        source = OpenRanking(on_vllm(home, server.url, model), store)
        source.refresh()
        assert source.condition.state is Standing.UP  # as far as is known
        source.close()


def test_the_time_since_when_stays_while_the_reason_changes() -> None:
    times = iter([10, 20, 30])
    keeper = ConditionKeeper(lambda: next(times))
    keeper.down(Reason.ABSENT)
    keeper.down(Reason.LATE)
    assert (keeper.last.reason, keeper.last.since) == (Reason.LATE, 10)
    keeper.up()
    assert keeper.problem is None
    keeper.down(Reason.ABSENT)
    assert keeper.last.since == 20
    keeper.off()
    assert keeper.last.state is Standing.OFF


def test_every_reason_has_words_without_addresses() -> None:
    assert in_words(None) == "The LLM ranks."
    for reason in [*Reason, NOT_MEASURED, BYPASSED, WITHHELD]:
        assert in_words(reason) in {*WORDS.values(), OTHER}
        assert "/" not in in_words(reason)
    assert set(WORDS) <= {*Reason, NOT_MEASURED, BYPASSED, WITHHELD}
