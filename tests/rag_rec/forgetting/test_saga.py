from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from filelock import FileLock

from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.adapters.folder import AdapterStore
from rag_rec.domain import Interaction, RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.engine.tending import open_saga
from rag_rec.errors import (
    Busy,
    ConfirmationRequired,
    InvalidInput,
    LegalHold,
    PlanChanged,
    Unfinished,
    UnknownRequest,
    UnknownUser,
)
from rag_rec.forgetting import saga as module
from rag_rec.forgetting import turn
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.plan import Planner
from rag_rec.forgetting.receipts.document import check_receipt, read_receipt
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.forgetting.saga import Saga
from rag_rec.home.opening import store_of
from rag_rec.identity.signing import Verifier
from rag_rec.index.erasing import vectors_in_files
from rag_rec.index.generation import Generations
from rag_rec.layers.finding import LayerName, Status
from rag_rec.layers.protocol import Layer
from rag_rec.layers.records import ForgetState, Group
from rag_rec.store.layer import StoreLayer
from rag_rec.store.records import Replica, Selection
from tests.homes import ITEMS, build, engine_of, fill, running, settings_for
from tests.rag_rec.forgetting.asking import confirmed, forget, forget_all, forget_in
from tests.rag_rec.forgetting.homes import CANARY, CANARY_TEXT, DAY, log, number_of, vectors_of

STEPS = tuple(layer for layer in LayerName if layer.holds_back)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def bytes_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def layers(engine: Engine, request_id: str) -> dict[str, str]:
    document = read_receipt(engine.officer.receipt(request_id))
    return {line["layer"]: line["status"] for line in document["layers"]}


def test_nothing_of_a_forgotten_user_is_left_in_any_file(engine: Engine) -> None:
    home = engine.settings.home
    traces = [CANARY.encode(), CANARY_TEXT.encode(), *vectors_of(engine, CANARY)]
    before = bytes_under(home)
    assert all(trace in before for trace in traces)
    outcome = forget(engine.officer, CANARY)
    after = bytes_under(home)
    assert [trace for trace in traces if trace in after] == []
    assert outcome.state == "complete"
    assert outcome.removed == {"users": 1, "interactions": 6}


def test_nothing_of_forgotten_interactions_is_left_and_the_rest_is_isolated_again(engine: Engine) -> None:
    number = number_of(engine.store, CANARY)
    forgotten = frozenset({ITEMS[1].id, ITEMS[3].id})
    old = vectors_of(engine, CANARY)
    outcome = forget(engine.officer, CANARY, Selection(item_ids=forgotten))
    after = bytes_under(engine.settings.home)
    assert f"{CANARY_TEXT} 1".encode() not in after
    assert f"{CANARY_TEXT} 5".encode() in after
    assert old[0] not in after
    history, vectors = engine.live.people.recall(number)
    assert len(history) == len(vectors) == 4
    _, rows = engine.officer.export(CANARY)
    assert {row.interaction.item_id for row in rows} == {item.id for item in ITEMS[:6]} - forgotten
    assert (outcome.scope, outcome.state, outcome.removed) == (
        "interactions",
        "complete",
        {"users": 0, "interactions": 2},
    )


def test_a_forgotten_user_is_a_stranger_at_once(engine: Engine) -> None:
    forget(engine.officer, CANARY)
    answer = engine.recommend(RecommendationRequest(CANARY, k=3))
    assert not answer.provenance.known_user
    assert answer.provenance.epoch == engine.store.epoch()
    assert all(not item.reasons for item in answer.items)
    with pytest.raises(UnknownUser):
        engine.officer.export(CANARY)
    with pytest.raises(UnknownUser):
        forget(engine.officer, CANARY)


def test_late_events_of_a_forgotten_user_are_refused_and_counted(engine: Engine) -> None:
    forget(engine.officer, CANARY)
    result = engine.add_interactions(CANARY, [Interaction(CANARY, ITEMS[0].id, 300 * DAY, "like")])
    assert (result.accepted, result.suppressed) == (0, 1)
    assert engine.store.user(CANARY) is None
    assert engine.store.suppressed_events() == 1


def test_a_running_engine_sees_at_once_what_another_process_forgot(engine: Engine) -> None:
    forget_in(engine.settings, CANARY)
    answer = engine.recommend(RecommendationRequest("user-1", k=3))
    assert answer.provenance.epoch == engine.store.epoch()
    assert len(engine.live.people) == 5
    assert engine.refresh()
    assert engine.live.generation.id == engine.current.generations.current_id()


def test_a_dry_run_changes_nothing(engine: Engine) -> None:
    before = bytes_under(engine.settings.home)
    plan = engine.officer.plan(ForgetRequest.of(CANARY))
    assert (plan.users, plan.interactions, plan.index_files) == (1, 6, 2)
    assert (plan.profile_vectors, plan.own_vectors, plan.statistics) == (1, 3, 6)
    assert (plan.adapters, plan.held, plan.expected_ms) == ((), (), None)
    assert bytes_under(engine.settings.home) == before
    assert engine.recommend(RecommendationRequest(CANARY)).provenance.known_user


@pytest.mark.parametrize("confirm", [None, "", "user-1", CANARY.upper()])
def test_without_the_right_confirmation_nothing_happens(engine: Engine, confirm: str | None) -> None:
    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    with pytest.raises(ConfirmationRequired):
        engine.officer.forget(replace(request, confirm=confirm))
    with pytest.raises(ConfirmationRequired):
        engine.officer.forget(replace(request, plan=None))
    assert engine.recommend(RecommendationRequest(CANARY)).provenance.known_user


def test_a_plan_of_something_else_is_refused(engine: Engine) -> None:
    other = engine.officer.plan(ForgetRequest.of("user-1")).plan
    part = engine.officer.plan(ForgetRequest.of(CANARY, Selection(before=203 * DAY))).plan
    for plan in (other, part, "0" * 64):
        with pytest.raises(PlanChanged):
            engine.officer.forget(ForgetRequest.of(CANARY, confirm=CANARY, plan=plan))
    assert engine.store.user(CANARY) is not None


def test_a_selection_that_has_grown_needs_a_new_plan_and_a_whole_user_does_not(engine: Engine) -> None:
    part = confirmed(engine.officer, ForgetRequest.of(CANARY, Selection(after=203 * DAY)))
    whole = confirmed(engine.officer, ForgetRequest.of(CANARY))
    engine.add_interactions(CANARY, [Interaction(CANARY, ITEMS[9].id, 300 * DAY, "like")])
    with pytest.raises(PlanChanged):
        engine.officer.forget(part)
    assert engine.officer.forget(whole).removed["interactions"] == 7


def test_selections_of_nothing_are_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="names none"):
        engine.officer.plan(ForgetRequest.of(CANARY, Selection()))
    before = engine.store.epoch(), engine.current.generations.current_id()
    empty = ForgetRequest.of(CANARY, Selection(item_ids=frozenset({ITEMS[11].id})))
    with pytest.raises(InvalidInput, match="no interaction"):
        engine.officer.plan(empty)
    planner = Planner(engine.officer.system())
    quoted = replace(empty, confirm=CANARY, plan=planner.hash(empty, planner.targets(empty)))
    with pytest.raises(InvalidInput, match="no interaction"):
        engine.officer.forget(quoted)
    assert (engine.store.epoch(), engine.current.generations.current_id()) == before


def test_interactions_are_forgotten_by_id(engine: Engine) -> None:
    _, rows = engine.officer.export(CANARY)
    forget(engine.officer, CANARY, Selection(numbers=frozenset({rows[2].number})))
    _, left = engine.officer.export(CANARY)
    assert [row.number for row in left] == [row.number for row in rows if row.number != rows[2].number]


def test_a_receipt_is_signed_complete_and_names_nobody(engine: Engine) -> None:
    outcome = forget(engine.officer, CANARY)
    receipt = engine.officer.receipt(outcome.request_id)
    verdict = check_receipt(receipt, Verifier.from_pem(engine.officer.public_key()))
    assert (verdict.valid, verdict.complete, verdict.problems) == (True, True, ())
    assert CANARY not in receipt
    assert set(layers(engine, outcome.request_id)) == set(LayerName)
    (record,) = engine.officer.forget_records(outcome.request_id)
    assert CANARY not in repr(record)
    assert (record.state, record.user_number) == (ForgetState.COMPLETE, None)
    assert set(record.times) == set(ForgetState)
    assert set(record.timings_ms) == {"accept", *LayerName}
    with pytest.raises(UnknownRequest):
        engine.officer.forget_records("0" * 32)


def test_the_same_request_again_gives_the_same_receipt(engine: Engine) -> None:
    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    first = engine.officer.forget(request)
    receipt, ledger = engine.officer.receipt(first.request_id), engine.store.ledger()
    again = engine.officer.forget(request)
    assert again == replace(first, repeated=True)
    assert (engine.officer.receipt(again.request_id), engine.store.ledger()) == (receipt, ledger)
    with pytest.raises(UnknownUser):
        engine.officer.forget(replace(request, user_ids=("user-1x",), confirm="user-1x"))


def test_a_legal_hold_blocks_until_it_is_released(engine: Engine) -> None:
    engine.officer.hold(CANARY, "case 12/2026")
    assert engine.officer.plan(ForgetRequest.of(CANARY)).held == ("case 12/2026",)
    with pytest.raises(LegalHold, match="case 12/2026"):
        forget(engine.officer, CANARY)
    with pytest.raises(LegalHold):
        forget_all(engine.officer, "user-1", CANARY)
    assert engine.store.user("user-1") is not None
    engine.officer.release(CANARY)
    assert forget(engine.officer, CANARY).state == "complete"


def test_a_batch_is_one_change_with_a_receipt_for_each(engine: Engine) -> None:
    outcome = forget_all(engine.officer, "user-1", CANARY, "user-3")
    assert outcome.removed == {"users": 3, "interactions": 16}
    assert len(outcome.requests) == 3
    saga = open_saga(engine.settings, engine.store)
    records = saga.records(outcome.request_id)
    assert [record.request_id for record in records] == list(outcome.requests)
    people = [engine.officer.system().pseudonyms.user(user_id) for user_id in ("user-1", CANARY, "user-3")]
    assert [engine.officer.forget_records(request_id)[0].subject for request_id in outcome.requests] == people
    for request_id in outcome.requests:
        assert check_receipt(
            engine.officer.receipt(request_id), Verifier.from_pem(engine.officer.public_key())
        ).complete
    for ask in (engine.officer.receipt, engine.officer.prove):
        with pytest.raises(UnknownRequest, match="batch: each of its 3 requests"):
            ask(outcome.request_id)
    assert len(engine.live.people) == 3
    assert CANARY.encode() not in bytes_under(engine.settings.home)


def test_a_batch_with_somebody_unknown_changes_nothing(engine: Engine) -> None:
    with pytest.raises(UnknownUser):
        engine.officer.plan(ForgetRequest((CANARY, "nobody")))
    assert engine.store.user(CANARY) is not None


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_step_is_finished_on_opening(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    whole = type(next(each for each in engine.officer.system().layers if each.name == step))
    remove = whole.remove

    def killed(self: Layer, group: Group) -> None:
        if when == "after":
            remove(self, group)
        raise KeyboardInterrupt

    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    with monkeypatch.context() as patched:
        patched.setattr(whole, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            engine.officer.forget(request)
    assert engine.store.user(CANARY) is None
    again = engine_of(engine.settings)
    assert again.officer.pending() == []
    assert CANARY.encode() not in bytes_under(engine.settings.home)
    outcome = again.officer.forget(request)
    assert (outcome.state, outcome.repeated) == ("complete", True)
    again.close()


def test_a_request_that_crashed_is_finished_when_it_is_repeated(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    with monkeypatch.context() as patched:
        patched.setattr(module.Saga, "_carry_out", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.officer.forget(request)
    assert [record.state for record in engine.officer.pending()] == [ForgetState.HIDDEN]
    assert engine.officer.forget(request).state == "complete"


def do_nothing(*_: object) -> None:
    return None


@pytest.mark.parametrize(
    ("step", "layer"), [(each, each) for each in (LayerName.STORE, LayerName.INDICES, LayerName.STATISTICS)]
)
def test_a_step_that_does_nothing_cannot_read_as_complete(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, step: str, layer: LayerName
) -> None:
    whole = type(next(each for each in engine.officer.system().layers if each.name == step))
    with monkeypatch.context() as patched:
        patched.setattr(whole, "remove", do_nothing)
        outcome = forget(engine.officer, CANARY)
    assert outcome.state != "complete"
    assert layers(engine, outcome.request_id)[layer] == Status.PENDING
    verdict = check_receipt(engine.officer.receipt(outcome.request_id), Verifier.from_pem(engine.officer.public_key()))
    assert (verdict.valid, verdict.complete) == (True, False)
    assert engine.officer.saga().resume() == 1
    assert layers(engine, outcome.request_id)[layer] == Status.PROVEN


def test_a_sweep_that_does_nothing_cannot_read_as_complete(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    compact = AdapterStore(engine.settings.compact)
    Checkpoints(compact.training, "key").save(Checkpoint(TrainingState(1, 0.5, {}), engine.store.epoch()))
    whole = type(next(each for each in engine.officer.system().layers if each.name == LayerName.TEMPORARY))
    with monkeypatch.context() as patched:
        patched.setattr(whole, "remove", do_nothing)
        outcome = forget(engine.officer, CANARY)
    assert layers(engine, outcome.request_id)[LayerName.TEMPORARY] == Status.PENDING
    assert outcome.state == "hidden"
    assert engine.officer.saga().resume() == 1
    assert not compact.training.exists()


@pytest.mark.parametrize("skipped", STEPS)
def test_a_step_that_is_left_out_cannot_read_as_complete(engine: Engine, skipped: str) -> None:
    steps = [step for step in engine.officer.system().layers if step.name != skipped]
    outcome = forget(Saga(engine.officer.system(), steps), CANARY)
    assert outcome.state != "complete"
    verdict = check_receipt(engine.officer.receipt(outcome.request_id), Verifier.from_pem(engine.officer.public_key()))
    assert (verdict.valid, verdict.complete) == (True, False)
    assert verdict.open


def test_a_replica_that_is_behind_keeps_a_request_from_being_effective(engine: Engine) -> None:
    slow = engine.settings.model_copy(update={"replica_wait_ms": 40})
    elsewhere = Replica("r1", "another-host", 1, engine.store.epoch(), 2**60)
    engine.store.beat(elsewhere)
    outcome = forget_in(slow, CANARY)
    assert outcome.state == "erased"
    assert layers(engine, outcome.request_id)[LayerName.STATISTICS] == Status.PENDING
    engine.store.beat(replace(elsewhere, epoch=engine.store.epoch()))
    assert engine.officer.saga().resume() == 1
    assert engine.officer.pending() == []


def test_forgetting_works_before_there_is_an_index(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    assert forget_in(settings, CANARY).state == "complete"
    assert CANARY.encode() not in bytes_under(settings.home)


def test_a_newer_generation_keeps_what_a_partly_forgotten_user_kept(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    older = build(settings)
    store, generations = store_of(settings), Generations(settings.generations)
    number = number_of(store, CANARY)
    forget_in(settings, CANARY, Selection(item_ids=frozenset({ITEMS[1].id})))
    assert vectors_in_files(generations, [number]) == []
    newer = build(settings)
    assert older.manifest.epoch < newer.manifest.epoch == store.epoch()
    engine = engine_of(settings)
    assert len(vectors_in_files(generations, [number])) == 2
    assert len(engine.live.people.history(number)) == 5
    engine.close()
    store.close()


def test_another_process_at_work_makes_it_busy(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "LOCK_SECONDS", 0.01)
    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    with FileLock(engine.settings.home / turn.LOCK), pytest.raises(Busy):
        engine.officer.forget(request)
    assert engine.store.user(CANARY) is not None


def test_the_ledger_is_copied_beside_the_store(engine: Engine) -> None:
    forget(engine.officer, CANARY)
    lines = engine.settings.ledger_file.read_bytes().splitlines()
    assert [orjson.loads(line)["kind"] for line in lines] == ["erasure", "receipt"]
    engine.settings.ledger_file.unlink()
    engine.refresh()
    assert engine.settings.ledger_file.read_bytes().splitlines() == lines


def test_a_copy_of_the_ledger_that_failed_is_made_when_the_request_is_repeated(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    request = confirmed(engine.officer, ForgetRequest.of(CANARY))
    with monkeypatch.context() as patched:
        patched.setattr(LedgerFile, "extend", full)
        for _ in range(2):
            with pytest.raises(Unfinished, match="No space left"):
                engine.officer.forget(request)
    outcome = engine.officer.forget(request)
    assert (outcome.state, outcome.repeated) == ("complete", True)
    assert LedgerFile(engine.settings.ledger_file).read() == engine.store.ledger()


def test_a_copy_of_the_ledger_that_cannot_be_made_keeps_back_no_removal(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(StoreLayer, "remove", do_nothing)
        assert forget(engine.officer, CANARY).state == "hidden"
    monkeypatch.setattr(LedgerFile, "extend", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            engine.officer.saga().resume()
        assert engine.officer.pending() == []


def test_a_proof_becomes_a_revision_of_the_receipt(engine: Engine) -> None:
    outcome = forget(engine.officer, CANARY)
    first = read_receipt(engine.officer.receipt(outcome.request_id))
    table = engine.officer.prove(outcome.request_id)
    second = read_receipt(engine.officer.receipt(outcome.request_id))
    assert table["equal"]
    assert (first["revision"], second["revision"]) == (1, 2)
    assert first["twin"] is None
    assert second["twin"] == table
    assert {key: second[key] for key in ("layers", "generation", "subject")} == {
        key: first[key] for key in ("layers", "generation", "subject")
    }
