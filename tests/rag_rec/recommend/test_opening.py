from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.adapters.folder import AdapterStore
from rag_rec.domain import Candidate, Item, RecommendationRequest, Source, User
from rag_rec.engine.engine import Engine
from rag_rec.engine.tending import open_saga
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.language_model import LanguageModel
from rag_rec.generators.passthrough import Passthrough
from rag_rec.generators.protocol import Prompt
from rag_rec.generators.spec import wanted
from rag_rec.home.opening import store_of
from rag_rec.recommend import opening
from rag_rec.recommend.gate import Gate, gate_path
from rag_rec.recommend.opening import OpenRanking, open_ranking
from rag_rec.recommend.ranker import NOT_MEASURED, WITHHELD
from rag_rec.recommend.source import RankerSource, Unavailable
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from tests.embedders import HashEmbedder
from tests.homes import build, engine_of, fill, settings_for
from tests.indexer.compact_homes import LOG, QUICK, build_compact, retrain, trained
from tests.rag_rec.forgetting.asking import forget_in
from tests.rag_rec.generators.fake_server import Behaviour, FakeServer

HOUR = 3_600_000

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


@pytest.fixture
def copied(home: Settings, tmp_path: Path) -> Settings:
    """The same system for a test that forgets people in it, with a gate that lets the LLM take part."""
    let_in(home)
    shutil.copytree(home.home, tmp_path / "home")
    return home.model_copy(update={"home": tmp_path / "home"})


STORES: list[SqlStore] = []


@pytest.fixture(autouse=True)
def stores_closed() -> Iterator[None]:
    """Closes what :func:`opened` opens."""
    yield
    while STORES:
        STORES.pop().close()


def opened(settings: Settings, clock: Callable[[], int] | None = None) -> RankerSource:
    """The ranker of some settings, over their store."""
    store = store_of(settings)
    STORES.append(store)
    return open_ranking(settings, store) if clock is None else OpenRanking(settings, store, clock)


def let_in(settings: Settings, weight: float = 1.0) -> None:
    used = AdapterStore(settings.compact).current()
    assert used is not None
    Gate(use=True, weight=weight, model=used.base, adapter=used.adapter, gain=(0.01, 0.03)).save(
        gate_path(settings.gates, used.base, used.adapter)
    )


def test_without_a_compact_generator_the_candidates_decide(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert wanted(settings) is None
    source = opened(settings)
    assert not source.current.asks
    source.close()


def test_a_generator_asked_for_by_name_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="compact build"):
        opened(settings_for(tmp_path, generator="local"))
    with pytest.raises(InvalidInput, match="base-url"):
        opened(settings_for(tmp_path, generator="vllm"))


def test_the_candidates_decide_where_that_is_asked_for(home: Settings) -> None:
    source = opened(home.model_copy(update={"generator": "passthrough"}))
    source.refresh()
    assert isinstance(source.current.generator, Passthrough)
    source.close()


def test_one_that_nobody_measured_is_bypassed_and_the_answer_says_so(engine: Engine) -> None:
    provenance = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    assert (provenance.source, provenance.fallback) == (Source.CANDIDATES, NOT_MEASURED)
    assert provenance.model is None


def test_a_gate_and_then_a_new_adapter_are_taken_up_while_running(engine: Engine, home: Settings) -> None:
    let_in(home)
    engine.refresh()
    first = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    used = AdapterStore(home.compact).current()
    assert used is not None
    assert (first.source, first.model, first.adapter) == (Source.FUSED, used.base, used.adapter)
    assert first.label_mass is not None and 0 < first.label_mass <= 1

    build_compact(home, trained(QUICK, epochs=4))
    let_in(home)
    engine.refresh()
    second = engine.recommend(RecommendationRequest("user-3", k=3)).provenance
    now = AdapterStore(home.compact).current()
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
    source = opened(home.model_copy(update={"generator_gate": False}))
    assert source.current.asks
    source.close()


def test_a_server_that_is_not_there_is_waited_for(home: Settings) -> None:
    let_in(home)
    settings = home.model_copy(
        update={"generator": "vllm", "generator_urls": ["http://127.0.0.1:9"]}  # discard: no server
    )
    source = opened(settings)
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
        source = opened(home.model_copy(update={"generator": "vllm", "generator_urls": [server.url]}))
        server.behaviour = Behaviour.WELL
        engine = Engine.open(home, embedder=HashEmbedder(), ranking=source)
        engine.recommend(RecommendationRequest("user-3", k=3))
        used = AdapterStore(home.compact).current()
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
    assert (provenance.source, provenance.fallback) == (Source.CANDIDATES, Reason.DAMAGED)
    assert engine.status().generator.reason == Reason.DAMAGED
    with pytest.raises(CorruptIndex):
        engine.refresh()
    path.write_bytes(content)
    if damaged != "gate":
        engine.refresh()
        assert engine.ranker.asks
    engine.close()


def test_what_does_not_open_is_left_alone_for_a_while(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(home)
    attempts = []

    def fails(*_: object) -> LanguageModel:
        attempts.append(1)
        raise RuntimeError("no memory is left")

    monkeypatch.setattr(opening, "open_generator", fails)
    source = opened(home)
    source.refresh()
    assert len(attempts) == 1
    assert isinstance(source.current.generator, Unavailable)
    assert source.current.generator.reason is Reason.INTERNAL
    monkeypatch.setattr(opening, "RETRY_SECONDS", 0.0)
    source.refresh()
    assert len(attempts) == 2
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
    source = opened(home)
    before, adapter = source.current, source.current.generator.backend.adapter  # type: ignore[attr-defined]
    another_target(home, monkeypatch, adapter=tmp_path / ("f" * 32))
    source.refresh()
    assert source.current is before
    assert source.current.generator.backend.adapter == adapter  # type: ignore[attr-defined]
    source.close()


def test_a_new_adapter_never_answers_under_the_old_ones_gate(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in(home)
    source = opened(home)
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
    source = opened(home)
    old = source.current.generator
    base = Path(wanted(home).model)  # type: ignore[union-attr]
    another_target(home, monkeypatch, model=str(base / ".." / base.name))
    adapters = source.adapters
    source.refresh()
    assert source.current.generator is not old
    prompt = Prompt(User("u"), [], [Candidate("item-1", 0.0), Candidate("item-2", 0.0)], lambda name: Item(name, name))
    assert len(old.rank(prompt, None).log_probabilities) == 2
    monkeypatch.setattr(opening, "GRACE_SECONDS", -60.0)
    source.refresh()
    with pytest.raises(GeneratorFailure):
        old.rank(prompt, None)
    assert source.adapters == adapters
    source.close()


def test_an_adapter_is_in_memory_until_its_model_is_closed(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(home)
    used = AdapterStore(home.compact).current()
    assert used is not None and source.adapters == (used.adapter,)
    base = Path(wanted(home).model)  # type: ignore[union-attr]
    another_target(home, monkeypatch, model=str(base / ".." / base.name), adapter=None)
    source.refresh()
    assert source.current.generator.backend.adapter is None  # type: ignore[attr-defined]
    assert source.adapters == (used.adapter,)
    monkeypatch.setattr(opening, "GRACE_SECONDS", -60.0)
    source.refresh()
    assert not source.adapters
    source.close()


def test_without_a_model_there_is_no_adapter(tmp_path: Path) -> None:
    for settings in (settings_for(tmp_path), settings_for(tmp_path, generator="passthrough")):
        source = opened(settings)
        assert source.adapters == ()
        source.close()


def why_not(engine: Engine) -> str | None:
    return engine.recommend(RecommendationRequest("user-5", k=3)).provenance.fallback


def test_a_strict_policy_withholds_the_adapter_at_once_until_it_has_been_trained_again(copied: Settings) -> None:
    settings = copied.model_copy(update={"adapter_policy": "strict"})
    with closing(engine_of(settings)) as engine:
        assert why_not(engine) is None
        forget_in(settings, "user-3")
        engine.refresh()
        assert why_not(engine) == WITHHELD
        assert engine.ranker.generator.backend.adapter is None  # type: ignore[attr-defined]
        new = retrain(settings)
        engine.refresh()
        assert why_not(engine) == NOT_MEASURED
        let_in(settings)
        engine.refresh()
        assert engine.recommend(RecommendationRequest("user-5", k=3)).provenance.adapter == new


def test_a_deadline_withholds_it_by_the_clock(copied: Settings) -> None:
    now = time.time_ns() // 1_000_000
    passed = [0]
    source = opened(copied, lambda: now + passed[0])
    old = source.current
    forget_in(copied, "user-3")
    passed[0] = 23 * HOUR
    source.refresh()
    assert source.current is old
    passed[0] = 25 * HOUR
    source.refresh()
    assert not source.current.asks
    assert source.current.withheld
    source.close()


def test_a_service_that_starts_too_late_does_not_load_it(copied: Settings) -> None:
    forget_in(copied, "user-3")
    source = opened(copied.model_copy(update={"adapter_hours": 0}))
    assert source.current.withheld
    assert source.current.generator.backend.adapter is None  # type: ignore[attr-defined]
    source.close()


def test_the_base_answers_alone_where_its_own_gate_lets_it(copied: Settings) -> None:
    used = AdapterStore(copied.compact).current()
    assert used is not None
    Gate(use=True, weight=1.0, model=used.base, gain=(0.01, 0.03)).save(gate_path(copied.gates, used.base, None))
    forget_in(copied, "user-3")
    with closing(engine_of(copied.model_copy(update={"adapter_policy": "strict"}))) as engine:
        provenance = engine.recommend(RecommendationRequest("user-5", k=3)).provenance
        assert (provenance.source, provenance.adapter, provenance.fallback) == (Source.FUSED, None, None)


def test_the_base_answers_alone_where_gates_are_turned_off(copied: Settings) -> None:
    settings = copied.model_copy(update={"adapter_policy": "strict", "generator_gate": False})
    used = AdapterStore(settings.compact).current()
    assert used is not None
    with closing(engine_of(settings)) as engine:
        answers = [engine.recommend(RecommendationRequest("user-5", k=3)).provenance]
        forget_in(settings, "user-3")
        answers.append(engine.recommend(RecommendationRequest("user-5", k=3)).provenance)
        assert engine.ranker.withheld
    assert [each.adapter for each in answers] == [used.adapter, None]  # what says that the base is alone
    assert {(each.source, each.model, each.fallback) for each in answers} == {(Source.FUSED, used.base, None)}


def test_it_is_withheld_even_if_the_base_cannot_follow(copied: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(copied.model_copy(update={"adapter_policy": "strict"}))
    backend = source.current.generator.backend  # type: ignore[attr-defined]

    def fails(_: Path | None) -> None:
        raise RuntimeError("no memory is left")

    monkeypatch.setattr(backend, "use_adapter", fails)
    forget_in(copied, "user-3")
    source.refresh()
    assert not source.current.asks
    assert source.current.withheld
    (copied.compact / "CURRENT").write_text("{")
    with pytest.raises(CorruptIndex):
        source.refresh()
    assert not source.current.asks
    source.close()


def test_a_base_that_cannot_be_opened_says_that_its_adapter_is_withheld(
    copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> LanguageModel:
        raise RuntimeError("no memory is left")

    forget_in(copied, "user-3")
    monkeypatch.setattr(opening, "open_generator", fails)
    source = opened(copied.model_copy(update={"adapter_policy": "strict"}))
    assert isinstance(source.current.generator, Unavailable)
    assert source.current.withheld
    source.close()


def test_one_that_is_destroyed_ranks_no_more_even_if_the_next_cannot_follow(
    copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = opened(copied)
    before = source.adapters
    backend = source.current.generator.backend  # type: ignore[attr-defined]

    def fails(_: Path | None) -> None:
        raise RuntimeError("no memory is left")

    monkeypatch.setattr(backend, "use_adapter", fails)
    forget_in(copied, "user-3")
    retrain(copied)
    assert source.current.asks
    source.refresh()
    assert not source.current.asks
    assert source.current.withheld
    assert source.adapters == before
    source.close()


def test_a_request_waits_for_a_service_that_still_has_the_old_adapter(copied: Settings) -> None:
    settings = copied.model_copy(update={"replica_wait_ms": 0})
    with closing(engine_of(settings)) as engine:
        engine.attendance.join()
        (service,) = engine.store.replicas()
        used = AdapterStore(settings.compact).current()
        assert used is not None and service.adapters == (used.adapter,)
        request = forget_in(settings, "user-3").request_id
        new = retrain(settings)
        assert open_saga(settings, engine.store).settle() == 0
        (waiting,) = engine.officer.pending()
        assert waiting.request_id == request
        engine.refresh()
        assert engine.store.replicas()[0].adapters == (new,)
        assert engine.officer.pending() == []


def test_a_service_on_the_list_has_what_was_current_after_it_came(copied: Settings) -> None:
    with closing(engine_of(copied)) as engine:
        forget_in(copied, "user-3")
        new = retrain(copied)
        engine.attendance.join()
        assert engine.ranker.generator.backend.adapter == new  # type: ignore[attr-defined]
        assert engine.store.replicas()[0].adapters == (new,)


def test_a_broken_generator_does_not_keep_back_a_removal(copied: Settings) -> None:
    with closing(engine_of(copied)) as engine:
        engine.attendance.join()
        (copied.compact / "CURRENT").write_text("{")
        forget_in(copied, "user-3")
        with pytest.raises(CorruptIndex):
            engine.refresh()
        assert engine.store.replicas()[0].epoch == engine.store.epoch()


def test_a_server_answers_without_the_adapter_that_is_withheld(copied: Settings) -> None:
    with FakeServer(most=128) as server:
        vllm = {"generator": "vllm", "generator_urls": [server.url], "adapter_policy": "strict"}
        source = opened(copied.model_copy(update=vllm))
        assert server.adapters
        forget_in(copied, "user-3")
        source.refresh()
        assert source.current.generator.backend.adapter is None  # type: ignore[attr-defined]
        assert not server.adapters
        source.close()
