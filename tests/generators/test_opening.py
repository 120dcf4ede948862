from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.compact.folder import CompactStore
from rag_rec.domain import RecommendationRequest, Source
from rag_rec.engine import Engine
from rag_rec.errors import InvalidInput
from rag_rec.fusion import Gate, gate_path
from rag_rec.generators.failures import Reason
from rag_rec.generators.opening import OpenRanking, Unavailable, open_ranking, wanted
from rag_rec.ranker import NOT_MEASURED
from rag_rec.settings import Settings
from tests.homes import build, engine_of, fill, settings_for
from tests.indexer.compact_homes import LOG, QUICK, build_compact, trained

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A system with an index and a compact generator that nobody has measured."""
    settings = settings_for(tmp_path_factory.mktemp("home"))
    fill(settings, LOG)
    build(settings)
    build_compact(settings)
    return settings


@pytest.fixture
def engine(home: Settings) -> Iterator[Engine]:
    engine = engine_of(home)
    yield engine
    engine.close()


def let_in(settings: Settings, weight: float = 1.0) -> None:
    used = CompactStore(settings.compact).current()
    assert used is not None
    Gate(use=True, weight=weight, model=used.base, adapter=used.adapter).save(
        gate_path(settings.gates, used.base, used.adapter)
    )


def test_without_a_compact_generator_the_candidates_decide(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert wanted(settings) is None
    source = open_ranking(settings)
    assert not source.current.asks
    source.close()


def test_a_generator_asked_for_by_name_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="compact build"):
        open_ranking(settings_for(tmp_path, generator="local"))
    with pytest.raises(InvalidInput, match="base-url"):
        open_ranking(settings_for(tmp_path, generator="vllm"))


def test_one_that_nobody_measured_is_bypassed_and_the_answer_says_so(engine: Engine) -> None:
    provenance = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    assert (provenance.source, provenance.fallback) == (Source.CANDIDATES, NOT_MEASURED)
    assert provenance.model is None


def test_a_gate_and_then_a_new_adapter_are_taken_up_while_running(engine: Engine, home: Settings) -> None:
    let_in(home)
    engine.refresh()
    first = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    used = CompactStore(home.compact).current()
    assert used is not None
    assert (first.source, first.model, first.adapter) == (Source.FUSED, used.base, used.adapter)
    assert first.label_mass is not None and 0 < first.label_mass <= 1

    build_compact(home, trained(QUICK, epochs=4))
    let_in(home)
    engine.refresh()
    second = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    now = CompactStore(home.compact).current()
    assert now is not None and now.adapter != used.adapter
    assert (second.source, second.adapter) == (Source.FUSED, now.adapter)


def test_the_llm_changes_the_order_but_never_the_items(engine: Engine, home: Settings) -> None:
    let_in(home, weight=0.0)
    engine.refresh()
    request = RecommendationRequest("user-3", k=10)
    asked = engine.recommend(request)
    assert asked.provenance.source is Source.LLM
    plain = engine_of(home.model_copy(update={"generator": "passthrough"}))
    expected = plain.recommend(request)
    plain.close()
    assert {item.item_id for item in asked.items} == {item.item_id for item in expected.items}


def test_the_gate_can_be_turned_off(home: Settings) -> None:
    source = OpenRanking(home.model_copy(update={"generator_gate": False}))
    assert source.current.asks
    source.close()


def test_a_server_that_is_not_there_is_waited_for(home: Settings) -> None:
    let_in(home)
    source = OpenRanking(
        home.model_copy(update={"generator": "vllm", "generator_urls": ["http://127.0.0.1:9"]})  # discard: no server
    )
    assert isinstance(source.current.generator, Unavailable)
    assert source.current.generator.reason is Reason.ABSENT
    source.refresh()
    source.close()
