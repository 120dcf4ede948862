"""What each layer finds, by itself, whatever its removal has said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.engine.engine import Engine
from rag_rec.forgetting.receipts.document import findings_in
from rag_rec.index.memory_layers import POLL_SECONDS, AnswersLayer, StatisticsLayer
from rag_rec.layers.finding import LayerName, Status
from rag_rec.layers.protocol import Layer
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.presence.replicas import present
from rag_rec.store.records import Selection
from tests.homes import ITEMS, running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, log, number_of
from tests.rag_rec.store.removing import delete_user

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
MEMORY = (LayerName.STATISTICS, LayerName.ANSWERS)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def record_of(engine: Engine, user_id: str, scope: str = "user", after: int | None = None) -> ForgetRecord:
    """A request as if it had been accepted at the present epoch."""
    epoch = engine.store.epoch() + 1 if after is None else after
    subject = engine.officer.system().pseudonyms.user(user_id)
    number = number_of(engine.store, user_id)
    return ForgetRecord("r", None, subject, "p", scope, ForgetState.HIDDEN, number, epoch - 1, epoch, 1000, 9000)


def of(engine: Engine, name: str) -> Layer:
    """One layer of a system."""
    return next(layer for layer in engine.officer.system().layers if layer.name == name)


def test_rows_that_are_left_are_found(engine: Engine) -> None:
    step = of(engine, LayerName.STORE)
    (finding,) = step.look([record_of(engine, CANARY)])
    assert (finding.layer, finding.status, finding.until) == (LayerName.STORE, Status.PENDING, 9000)
    assert finding.detail == {"rows": 7}


def test_an_interaction_that_came_back_is_found(engine: Engine) -> None:
    record = record_of(engine, CANARY, "interactions")
    step = of(engine, LayerName.STORE)
    assert step.look([record])[0].status is Status.PROVEN
    forget(engine.officer, CANARY)
    assert step.look([replace(record, user_number=None)])[0].status is Status.PROVEN


def test_deleted_rows_that_are_not_overwritten_are_found(engine: Engine) -> None:
    record = record_of(engine, CANARY)
    delete_user(engine.store, number_of(engine.store, CANARY))
    step = of(engine, LayerName.STORE)
    assert step.look([record])[0].status is Status.PENDING
    step.remove([record])
    assert step.look([record])[0].status is Status.PROVEN


def test_index_files_that_hold_the_person_are_found(engine: Engine) -> None:
    step = of(engine, LayerName.INDICES)
    record = record_of(engine, CANARY)
    (finding,) = step.look([record])
    assert (finding.layer, finding.status, finding.detail["files"]) == (LayerName.INDICES, Status.PENDING, 2)
    step.remove([record])
    assert step.look([record])[0].status is Status.PROVEN


def test_the_newest_of_several_requests_about_one_person_counts(engine: Engine) -> None:
    first, second = (record_of(engine, CANARY, "interactions", after) for after in (engine.store.epoch() + 1, 0))
    step = of(engine, LayerName.INDICES)
    assert step.look([first, second])[0].status is Status.PENDING
    assert step.look([second])[0].status is Status.PROVEN
    assert step.look([replace(first, user_number=None)])[0].status is Status.PROVEN


def test_partial_files_are_swept(engine: Engine) -> None:
    folder = engine.current.generations.root / "building-1-abc" / "profiles"
    folder.mkdir(parents=True)
    (folder / "01.rewritten").write_bytes(b"somebody")
    step = of(engine, LayerName.TEMPORARY)
    record = record_of(engine, CANARY)
    assert step.look([record])[0].status is Status.PENDING
    step.remove([record])
    assert step.look([record])[0].status is Status.PROVEN
    assert not (folder / "01.rewritten").exists()


def test_a_file_that_another_process_swept_first_is_no_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    step = of(engine, LayerName.TEMPORARY)
    gone = [engine.settings.generations / "gone.rewritten"]
    monkeypatch.setattr("rag_rec.places.temporary_layer.partial_files", lambda _: gone)
    step.remove([record_of(engine, CANARY)])


def test_a_person_who_is_still_in_memory_is_found(engine: Engine) -> None:
    record = record_of(engine, CANARY)
    (statistics,), (answers,) = (of(engine, name).look([record]) for name in MEMORY)
    assert (statistics.layer, statistics.status) == (LayerName.STATISTICS, Status.PENDING)
    assert (answers.layer, answers.status) == (LayerName.ANSWERS, Status.PENDING)


def test_a_partly_forgotten_person_may_stay_in_memory(engine: Engine) -> None:
    record = record_of(engine, CANARY, "interactions", engine.store.epoch())
    assert of(engine, LayerName.STATISTICS).look([record])[0].status is Status.PROVEN


def test_one_whose_number_is_gone_is_looked_for_no_more(engine: Engine) -> None:
    record = record_of(engine, CANARY, after=engine.store.epoch())
    assert of(engine, LayerName.STATISTICS).look([record])[0].status is Status.PENDING
    assert of(engine, LayerName.STATISTICS).look([replace(record, user_number=None)])[0].status is Status.PROVEN


def test_memory_that_does_not_add_up_is_found(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(engine, CANARY, "interactions", engine.store.epoch())
    monkeypatch.setattr(type(engine.live), "sound", lambda _: False)
    assert of(engine, LayerName.STATISTICS).look([record])[0].status is Status.PENDING


def test_other_replicas_are_waited_for_as_long_as_the_settings_say(engine: Engine) -> None:
    engine.store.beat(replace(present("slow", 0), host="another-host"))
    settings = engine.settings.model_copy(update={"replica_wait_ms": 100})
    waited: list[float] = []
    record = record_of(engine, CANARY, "interactions", engine.store.epoch())
    answers = AnswersLayer(engine.live, engine.store, None, settings, waited.append)
    answers.remove([record])
    assert waited == [POLL_SECONDS] * 5
    (statistics,) = of(engine, LayerName.STATISTICS).look([record])
    assert (statistics.status, statistics.detail) == (
        Status.PENDING,
        {"replicas": 1, "lagging": 1, "waits_for": "slow"},
    )
    engine.store.beat(replace(present("slow", engine.store.epoch()), host="another-host"))
    answers.remove([record])
    assert len(waited) == 5


def test_without_memory_the_replicas_alone_count(engine: Engine) -> None:
    record = record_of(engine, CANARY, after=engine.store.epoch())
    (statistics,) = StatisticsLayer(None, engine.store, None).look([record])
    (answers,) = AnswersLayer(None, engine.store, None, engine.settings).look([record])
    assert statistics.status is Status.PROVEN
    assert "running service" in statistics.why
    assert answers.status is Status.PENDING  # the store knows of no removal at that epoch


def test_prefixes_in_a_server_are_beyond_reach_and_said_so(engine: Engine) -> None:
    forget(engine.officer, CANARY)
    settings = engine.settings.model_copy(update={"generator": "vllm"})
    record = record_of(engine, "user-1", "interactions", engine.store.epoch())
    (answers,) = AnswersLayer(engine.live, engine.store, None, settings).look([record])
    assert answers.status is Status.OUT_OF_SCOPE
    assert "vLLM" in answers.why


WHOLE = {
    LayerName.STORE: "No row of the person is left",
    LayerName.INDICES: "No index file from before the erasure holds a vector or a row of the person",
    LayerName.STATISTICS: "Counts, profiles and histories in memory hold nothing of the person",
}
PART = {
    LayerName.STORE: "Of the interactions that were to go, no row is left",
    LayerName.INDICES: "Files made since then hold what the person has kept",
    LayerName.STATISTICS: "Memory has of the person exactly the interactions that the store has",
}


def said(engine: Engine, request_id: str) -> dict[str, str]:
    return {each.layer: each.why for each in findings_in(engine.officer.receipt(request_id))}


def test_a_receipt_says_of_each_layer_what_is_true_for_its_scope(engine: Engine) -> None:
    part = said(engine, forget(engine.officer, CANARY, Selection(item_ids=frozenset({ITEMS[1].id}))).request_id)
    assert engine.store.user(CANARY) is not None
    whole = said(engine, forget(engine.officer, "user-1").request_id)
    for layer, sentence in PART.items():
        assert sentence in part[layer]
        assert sentence not in whole[layer]
    assert all(sentence in whole[layer] for layer, sentence in WHOLE.items())
    assert "nothing of the person" not in str(part)
    assert "No row of the person" not in str(part)


def test_a_group_of_both_scopes_is_not_said_to_be_gone_entirely(engine: Engine) -> None:
    forget(engine.officer, "user-1")
    part = record_of(engine, CANARY, "interactions", engine.store.epoch())
    group = [part, replace(part, user_number=None, scope="user")]
    for step in (of(engine, name) for name in (LayerName.STORE, LayerName.INDICES, LayerName.STATISTICS)):
        step.remove(group)
        finding = step.look(group)[0]
        assert finding.status is Status.PROVEN
        assert PART[LayerName(finding.layer)] in finding.why
