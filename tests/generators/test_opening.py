from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.compact.folder import CompactStore
from rag_rec.domain import Candidate, Item, RecommendationRequest, Source, User
from rag_rec.engine import Engine
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.fusion import Gate, gate_path
from rag_rec.generators import opening
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.language_model import LanguageModel
from rag_rec.generators.opening import OpenRanking, Unavailable, open_ranking, wanted
from rag_rec.generators.protocol import Prompt
from rag_rec.ranker import NOT_MEASURED
from rag_rec.settings import Settings
from tests.embedders import HashEmbedder
from tests.generators.fake_server import Behaviour, FakeServer
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
    settings = home.model_copy(
        update={"generator": "vllm", "generator_urls": ["http://127.0.0.1:9"]}  # discard: no server
    )
    source = OpenRanking(settings)
    waiting = source.current
    assert waiting.asks
    source.refresh()
    assert source.current is waiting
    engine = Engine.open(settings, embedder=HashEmbedder(), ranking=source)
    provenance = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    engine.close()
    assert (provenance.source, provenance.fallback) == (Source.CANDIDATES, Reason.ABSENT)


def test_a_server_that_comes_gets_the_adapter_in_use(home: Settings) -> None:
    let_in(home)
    with FakeServer(most=128) as server:
        server.behaviour = Behaviour.NOT_HTTP
        source = OpenRanking(home.model_copy(update={"generator": "vllm", "generator_urls": [server.url]}))
        server.behaviour = Behaviour.WELL
        engine = Engine.open(home, embedder=HashEmbedder(), ranking=source)
        engine.recommend(RecommendationRequest("user-3", k=3))
        used = CompactStore(home.compact).current()
        assert used is not None
        assert list(server.adapters) == [f"rag-rec-{used.adapter}"]
        engine.close()


@pytest.mark.parametrize("damaged", ["compact/CURRENT", "gate"])
def test_damaged_files_do_not_stop_the_service(home: Settings, tmp_path: Path, damaged: str) -> None:
    let_in(home)
    shutil.copytree(home.home, tmp_path / "home")
    settings = home.model_copy(update={"home": tmp_path / "home"})
    path = next(settings.gates.glob("*.json")) if damaged == "gate" else settings.home / damaged
    content = path.read_bytes()
    for other in settings.gates.glob("*.json"):
        if damaged == "gate":
            other.write_text("{")
    path.write_text("{")
    engine = engine_of(settings)
    provenance = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    assert (provenance.source, provenance.fallback) == (Source.CANDIDATES, Reason.INTERNAL)
    with pytest.raises(CorruptIndex):
        engine.refresh()
    path.write_bytes(content)
    if damaged != "gate":
        engine.refresh()
        assert engine.ranker.asks
    engine.close()


def test_what_does_not_open_is_left_alone_for_a_while(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(home)
    opened = []

    def fails(*_: object) -> LanguageModel:
        opened.append(1)
        raise RuntimeError("no memory is left")

    monkeypatch.setattr(opening, "open_generator", fails)
    source = OpenRanking(home)
    source.refresh()
    assert len(opened) == 1
    assert isinstance(source.current.generator, Unavailable)
    assert source.current.generator.reason is Reason.INTERNAL
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.0)
    source.refresh()
    assert len(opened) == 2
    monkeypatch.undo()
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.0)
    source.refresh()
    assert isinstance(source.current.generator, LanguageModel)
    source.close()


def another_target(settings: Settings, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
    target = wanted(settings)
    assert target is not None
    changed = replace(target, **changes)  # type: ignore[arg-type]
    monkeypatch.setattr(opening, "wanted", lambda _: changed)


def test_an_adapter_that_does_not_load_leaves_the_old_one_with_its_gate(
    home: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    let_in(home)
    source = OpenRanking(home)
    before, adapter = source.current, source.current.generator.backend.adapter  # type: ignore[attr-defined]
    another_target(home, monkeypatch, adapter=tmp_path / ("f" * 32))
    source.refresh()
    assert source.current is before
    assert source.current.generator.backend.adapter == adapter  # type: ignore[attr-defined]
    source.close()


def test_a_new_adapter_never_answers_under_the_old_ones_gate(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(home)
    source = OpenRanking(home)
    asked: list[bool] = []
    backend = source.current.generator.backend  # type: ignore[attr-defined]
    swap = backend.use_adapter

    def watched(folder: Path | None) -> None:
        asked.append(source.current.asks)
        swap(folder)

    monkeypatch.setattr(backend, "use_adapter", watched)
    another_target(home, monkeypatch, adapter=None)
    source.refresh()
    assert asked == [False]
    assert not source.current.asks
    source.close()


def test_a_model_that_is_replaced_ends_its_answers(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(home)
    source = OpenRanking(home)
    old = source.current.generator
    base = Path(wanted(home).model)  # type: ignore[union-attr]
    another_target(home, monkeypatch, model=str(base / ".." / base.name))
    source.refresh()
    assert source.current.generator is not old
    prompt = Prompt(User("u"), [], [Candidate("item-1", 0.0), Candidate("item-2", 0.0)], lambda name: Item(name, name))
    assert len(old.rank(prompt, None).log_probabilities) == 2
    monkeypatch.setattr(opening, "GRACE_SECONDS", -60.0)
    source.refresh()
    with pytest.raises(GeneratorFailure):
        old.rank(prompt, None)
    source.close()
