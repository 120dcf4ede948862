"""What each step finds, by itself, whatever its act has said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.engine.engine import Engine
from rag_rec.forgetting.receipts.document import findings_in
from rag_rec.forgetting.steps.database import ScrubDatabase
from rag_rec.forgetting.steps.indices import RewriteIndices
from rag_rec.forgetting.steps.memory import POLL_SECONDS, FollowErasure
from rag_rec.forgetting.steps.temporary import SweepTemporary
from rag_rec.forgetting.system import System
from rag_rec.layers.finding import Layer, Status
from rag_rec.presence.replicas import present
from rag_rec.store.records import ForgetRecord, ForgetState, Selection
from tests.homes import ITEMS, running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, log, number_of
from tests.rag_rec.store.removing import delete_user

RESULTS = Path(__file__).parents[4] / "benchmarks" / "results"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def record_of(engine: Engine, user_id: str, scope: str = "user", after: int | None = None) -> ForgetRecord:
    """A request as if it had been accepted at the present epoch."""
    epoch = engine.store.epoch() + 1 if after is None else after
    subject = engine._pseudonyms.user(user_id)
    number = number_of(engine.store, user_id)
    return ForgetRecord("r", None, subject, "p", scope, ForgetState.HIDDEN, number, epoch - 1, epoch, 1000, 9000)


def test_rows_that_are_left_are_found(engine: Engine) -> None:
    step = ScrubDatabase(engine._system())
    (finding,) = step.verify([record_of(engine, CANARY)])
    assert (finding.layer, finding.status, finding.until) == (Layer.STORE, Status.PENDING, 9000)
    assert finding.detail == {"rows": 7}


def test_an_interaction_that_came_back_is_found(engine: Engine) -> None:
    record = record_of(engine, CANARY, "interactions")
    step = ScrubDatabase(engine._system())
    assert step.verify([record])[0].status is Status.PROVEN
    forget(engine, CANARY)
    assert step.verify([replace(record, user_number=None)])[0].status is Status.PROVEN


def test_deleted_rows_that_are_not_overwritten_are_found(engine: Engine) -> None:
    record = record_of(engine, CANARY)
    delete_user(engine.store, number_of(engine.store, CANARY))
    step = ScrubDatabase(engine._system())
    assert step.verify([record])[0].status is Status.PENDING
    step.act([record])
    assert step.verify([record])[0].status is Status.PROVEN


def test_index_files_that_hold_the_person_are_found(engine: Engine) -> None:
    step = RewriteIndices(engine._system())
    record = record_of(engine, CANARY)
    (finding,) = step.verify([record])
    assert (finding.layer, finding.status, finding.detail["files"]) == (Layer.INDICES, Status.PENDING, 2)
    step.act([record])
    assert step.verify([record])[0].status is Status.PROVEN


def test_the_newest_of_several_requests_about_one_person_counts(engine: Engine) -> None:
    first, second = (record_of(engine, CANARY, "interactions", after) for after in (engine.store.epoch() + 1, 0))
    step = RewriteIndices(engine._system())
    assert step.verify([first, second])[0].status is Status.PENDING
    assert step.verify([second])[0].status is Status.PROVEN
    assert step.verify([replace(first, user_number=None)])[0].status is Status.PROVEN


def test_partial_files_are_swept(engine: Engine) -> None:
    folder = engine.generations.root / "building-1-abc" / "profiles"
    folder.mkdir(parents=True)
    (folder / "01.rewritten").write_bytes(b"somebody")
    step = SweepTemporary(engine._system())
    record = record_of(engine, CANARY)
    assert step.verify([record])[0].status is Status.PENDING
    step.act([record])
    assert step.verify([record])[0].status is Status.PROVEN
    assert not (folder / "01.rewritten").exists()


def test_a_file_that_another_process_swept_first_is_no_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    step = SweepTemporary(engine._system())
    gone = [engine.settings.generations / "gone.rewritten"]
    monkeypatch.setattr("rag_rec.forgetting.steps.temporary.partial_files", lambda _: gone)
    step.act([record_of(engine, CANARY)])


def memory(system: System, waited: list[float] | None = None) -> FollowErasure:
    return FollowErasure(system, (waited if waited is not None else []).append)


def test_a_person_who_is_still_in_memory_is_found(engine: Engine) -> None:
    record = record_of(engine, CANARY)
    statistics, answers = memory(engine._system()).verify([record])
    assert (statistics.layer, statistics.status) == (Layer.STATISTICS, Status.PENDING)
    assert (answers.layer, answers.status) == (Layer.ANSWERS, Status.PENDING)


def test_a_partly_forgotten_person_may_stay_in_memory(engine: Engine) -> None:
    record = record_of(engine, CANARY, "interactions", engine.store.epoch())
    assert memory(engine._system()).verify([record])[0].status is Status.PROVEN


def test_one_whose_number_is_gone_is_looked_for_no_more(engine: Engine) -> None:
    record = record_of(engine, CANARY, after=engine.store.epoch())
    assert memory(engine._system()).verify([record])[0].status is Status.PENDING
    assert memory(engine._system()).verify([replace(record, user_number=None)])[0].status is Status.PROVEN


def test_memory_that_does_not_add_up_is_found(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(engine, CANARY, "interactions", engine.store.epoch())
    monkeypatch.setattr(type(engine.live), "sound", lambda _: False)
    assert memory(engine._system()).verify([record])[0].status is Status.PENDING


def test_other_replicas_are_waited_for_as_long_as_the_settings_say(engine: Engine) -> None:
    engine.store.beat(replace(present("slow", 0), host="another-host"))
    system = replace(engine._system(), settings=engine.settings.model_copy(update={"replica_wait_ms": 100}))
    waited: list[float] = []
    record = record_of(engine, CANARY, "interactions", engine.store.epoch())
    step = memory(system, waited)
    step.act([record])
    assert waited == [POLL_SECONDS] * 5
    (statistics, _) = step.verify([record])
    assert (statistics.status, statistics.detail) == (
        Status.PENDING,
        {"replicas": 1, "lagging": 1, "waits_for": "slow"},
    )
    engine.store.beat(replace(present("slow", engine.store.epoch()), host="another-host"))
    step.act([record])
    assert len(waited) == 5


def test_without_memory_the_replicas_alone_count(engine: Engine) -> None:
    system = replace(engine._system(), live=None)
    record = record_of(engine, CANARY, after=engine.store.epoch())
    statistics, answers = memory(system).verify([record])
    assert statistics.status is Status.PROVEN
    assert "running service" in statistics.why
    assert answers.status is Status.PENDING  # the store knows of no removal at that epoch


def test_prefixes_in_a_server_are_beyond_reach_and_said_so(engine: Engine) -> None:
    forget(engine, CANARY)
    settings = engine.settings.model_copy(update={"generator": "vllm"})
    record = record_of(engine, "user-1", "interactions", engine.store.epoch())
    _, answers = memory(replace(engine._system(), settings=settings)).verify([record])
    assert answers.status is Status.OUT_OF_SCOPE
    assert "vLLM" in answers.why


WHOLE = {
    Layer.STORE: "No row of the person is left",
    Layer.INDICES: "No index file from before the erasure holds a vector or a row of the person",
    Layer.STATISTICS: "Counts, profiles and histories in memory hold nothing of the person",
}
PART = {
    Layer.STORE: "Of the interactions that were to go, no row is left",
    Layer.INDICES: "Files made since then hold what the person has kept",
    Layer.STATISTICS: "Memory has of the person exactly the interactions that the store has",
}


def said(engine: Engine, request_id: str) -> dict[str, str]:
    return {each.layer: each.why for each in findings_in(engine.receipt(request_id))}


def test_a_receipt_says_of_each_layer_what_is_true_for_its_scope(engine: Engine) -> None:
    part = said(engine, forget(engine, CANARY, Selection(item_ids=frozenset({ITEMS[1].id}))).request_id)
    assert engine.store.user(CANARY) is not None
    whole = said(engine, forget(engine, "user-1").request_id)
    for layer, sentence in PART.items():
        assert sentence in part[layer]
        assert sentence not in whole[layer]
    assert all(sentence in whole[layer] for layer, sentence in WHOLE.items())
    assert "nothing of the person" not in str(part)
    assert "No row of the person" not in str(part)


def test_a_group_of_both_scopes_is_not_said_to_be_gone_entirely(engine: Engine) -> None:
    forget(engine, "user-1")
    part = record_of(engine, CANARY, "interactions", engine.store.epoch())
    group = [part, replace(part, user_number=None, scope="user")]
    system = engine._system()
    for step in (ScrubDatabase(system), RewriteIndices(system), memory(system)):
        step.act(group)
        finding = step.verify(group)[0]
        assert finding.status is Status.PROVEN
        assert PART[finding.layer] in finding.why
