from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from rag_rec.engine.tending import open_saga
from rag_rec.errors import BrokenLedger, NotReady, Unfinished
from rag_rec.forgetting.ledger.chain import EMPTY, make_entry, tip_after
from rag_rec.forgetting.ledger.file import LedgerFile
from rag_rec.forgetting.receipts.conclusion import ORDER, advanced, state_of
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.home.keys import open_signer
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.settings import Settings
from tests.homes import fill, settings_for
from tests.rag_rec.forgetting.asking import confirmed, forget_in
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.stores import open_store_of

RECORD = ForgetRecord("r", None, "s", "p", "user", ForgetState.HIDDEN, 7, 3, 4, 1000, 9000, {"accepted": 1000})
CLEAN = dict.fromkeys(LayerName, Status.PROVEN)


def findings(statuses: dict[LayerName, Status]) -> list[Finding]:
    return [Finding(layer, status, "because") for layer, status in statuses.items()]


def test_everything_proven_is_complete() -> None:
    assert state_of(findings(CLEAN)) is ForgetState.COMPLETE


@pytest.mark.parametrize("layer", [layer for layer in LayerName if layer.holds_back])
@pytest.mark.parametrize("status", [None, Status.PENDING])
def test_no_layer_may_be_left_out_or_open(layer: LayerName, status: Status | None) -> None:
    statuses = {**CLEAN, layer: status} if status else {k: v for k, v in CLEAN.items() if k is not layer}
    reached = state_of(findings(statuses))
    assert reached is not ForgetState.COMPLETE
    if layer in {LayerName.STORE, LayerName.INDICES, LayerName.TEMPORARY}:
        assert reached is ForgetState.HIDDEN
    elif layer in {LayerName.STATISTICS, LayerName.ANSWERS}:
        assert reached is ForgetState.ERASED
    elif layer is LayerName.ADAPTER:
        assert reached is ForgetState.EFFECTIVE
    else:
        assert reached is ForgetState.UNLEARNED


@pytest.mark.parametrize("status", [None, Status.PENDING])
def test_freed_memory_holds_no_request_back(status: Status | None) -> None:
    others = [each for each in findings(CLEAN) if each.layer is not LayerName.FREED]
    freed = [Finding(LayerName.FREED, status, "Processes run.")] if status else []
    assert state_of([*others, *freed]) is ForgetState.COMPLETE


def test_a_layer_named_twice_does_not_count_as_complete() -> None:
    doubled = [*findings(CLEAN), Finding(LayerName.LOGS, Status.PROVEN, "again")]
    assert state_of(doubled) is ForgetState.UNLEARNED


@pytest.mark.parametrize(("before", "after"), list(itertools.combinations(ORDER[1:], 2)))
def test_a_record_keeps_the_time_of_every_state_it_passed(before: ForgetState, after: ForgetState) -> None:
    first = advanced(RECORD, before, 2000)
    second = advanced(first, after, 3000)
    for state in ORDER[1:]:
        place = ORDER.index(state)
        expected = 2000 if place <= ORDER.index(before) else 3000 if place <= ORDER.index(after) else None
        assert second.times.get(state.value) == expected
    assert second.times["accepted"] == 1000


def test_the_number_is_kept_until_the_request_is_effective() -> None:
    assert advanced(RECORD, ForgetState.ERASED, 1).user_number == 7
    assert advanced(RECORD, ForgetState.EFFECTIVE, 1).user_number is None


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A system with six people, none of them forgotten."""
    made = settings_for(tmp_path / "home")
    fill(made, log())
    return made


def test_a_copy_that_could_not_be_written_is_tried_again(settings: Settings) -> None:
    settings.ledger_file.mkdir(parents=True)
    with open_store_of(settings) as store:
        saga = open_saga(settings, store)
        request = confirmed(saga, ForgetRequest.of(CANARY))
        for _ in range(2):
            with pytest.raises(Unfinished, match="RAGREC_LEDGER_COPY"):
                saga.forget(request)
        with pytest.raises(NotReady, match="RAGREC_LEDGER_COPY"):
            saga.resume()
        settings.ledger_file.rmdir()
        assert saga.forget(request).repeated
        assert LedgerFile(settings.ledger_file).read() == store.ledger()


def test_an_edited_copy_is_noticed_and_left_as_evidence(settings: Settings) -> None:
    forget_in(settings, "user-0")
    edited = settings.ledger_file.read_text().replace("complete", "complexe")
    settings.ledger_file.write_text(edited)
    with pytest.raises(Unfinished, match=r"Entry 2 .*rag-rec ledger verify"):
        forget_in(settings, CANARY)
    assert settings.ledger_file.read_text() == edited


def test_a_copy_that_is_ahead_of_the_store_is_noticed(settings: Settings) -> None:
    with open_store_of(settings) as store:
        saga = open_saga(settings, store)
        copy = LedgerFile(settings.ledger_file)
        tip = EMPTY
        for number in range(9):
            entry = make_entry(tip, "release", {"subject": "s", "time": number}, open_signer(settings))
            copy.extend([entry])
            tip = tip_after(entry)
        with pytest.raises(BrokenLedger, match="lacks entries"):
            saga.resume()
