"""The words of every state and of every layer that is open, wherever a state is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.forgetting.receipts.outlook import BY_ITSELF, IN_FORCE, NO_RECEIPT, NOT_SAID, NOTHING_TO_DO, Outlook
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.records import ForgetRecord, ForgetState
from tests.homes import settings_for
from tests.rag_rec.forgetting.records import FINDINGS, accepted, issued

UNTIL = "1970-01-01T00:00:04.000Z"
DUE = 4_000


def outlook(tmp_path: Path, state: ForgetState, findings: Sequence[Finding], now: int = 0) -> Outlook:
    settings = settings_for(tmp_path / "home")
    record = accepted(settings, "ada")
    return Outlook.of(replace(record, state=state, receipt=issued(settings, record, findings)), now)


def pending(layer: LayerName, why: str, detail: Mapping[str, str | int] | None = None) -> list[Finding]:
    changed = Finding(layer, Status.PENDING, why, DUE, dict(detail or {}))
    return [changed if each.layer is layer else each for each in FINDINGS]


@pytest.mark.parametrize("state", ForgetState)
def test_every_state_says_what_is_in_force_and_what_to_do(state: ForgetState, tmp_path: Path) -> None:
    told = outlook(tmp_path, state, pending(LayerName.STORE, "Rows are left."))
    assert told.in_force == IN_FORCE[state]
    if state is ForgetState.COMPLETE:
        assert (told.waits_for, told.to_do) == ((), NOTHING_TO_DO)
        assert told.words() == {"in force": IN_FORCE[state]}
    else:
        assert told.words()["waits for"] == [f"store (until {UNTIL}): Rows are left."]
        assert told.to_do == BY_ITSELF


def test_the_words_of_the_states_differ() -> None:
    assert len(set(IN_FORCE.values())) == len(ForgetState)


@pytest.mark.parametrize("layer", [layer for layer in LayerName if layer.holds_back])
def test_every_layer_that_is_open_is_named_with_its_own_reason_and_time(layer: LayerName, tmp_path: Path) -> None:
    told = outlook(tmp_path, ForgetState.HIDDEN, pending(layer, f"Something of {layer} is left."))
    (wait,) = told.waits_for
    assert (wait.layer, wait.why, wait.until) == (layer, f"Something of {layer} is left.", UNTIL)
    assert told.content()["waits_for"] == [
        {"layer": layer.value, "why": f"Something of {layer} is left.", "until": UNTIL, "which": []}
    ]


def test_commands_are_those_that_the_layers_name(tmp_path: Path) -> None:
    """So that a layer of which nothing is known here says itself what to do."""
    findings = pending(LayerName.ADAPTER, "Seen; `rag-rec adapter retrain` trains one that did not.")
    both = [
        replace(each, status=Status.PENDING, until=None) if each.layer is LayerName.LOGS else each for each in findings
    ]
    both = [replace(each, why="Run `rag-rec place clean`.") if each.layer is LayerName.LOGS else each for each in both]
    told = outlook(tmp_path, ForgetState.EFFECTIVE, both)
    assert told.to_do in {
        "Run `rag-rec adapter retrain` and `rag-rec place clean`.",
        "Run `rag-rec place clean` and `rag-rec adapter retrain`.",
    }


def test_services_are_named_as_far_as_they_are_known(tmp_path: Path) -> None:
    findings = pending(LayerName.STATISTICS, "A running service has not followed yet.", {"waits_for": "a1, b2"})
    told = outlook(tmp_path, ForgetState.ERASED, findings)
    assert told.waits_for[0].which == ("a1", "b2")
    line = told.words({"b2": "process 7 on host"})["waits for"][0]
    assert line.endswith("A running service has not followed yet. Waited for: a1; b2, process 7 on host.")


def test_what_is_overdue_is_said_to_have_been_due(tmp_path: Path) -> None:
    findings = pending(LayerName.ADAPTER, "Seen.")
    assert outlook(tmp_path, ForgetState.EFFECTIVE, findings, DUE + 1).words()["waits for"] == [
        f"adapter (was due {UNTIL}): Seen."
    ]


def test_a_request_without_a_receipt_waits_for_its_first_attempt(tmp_path: Path) -> None:
    record: ForgetRecord = replace(accepted(settings_for(tmp_path / "home"), "ada"), receipt=None)
    told = Outlook.of(record)
    assert told.words()["waits for"] == [NO_RECEIPT]
    assert "rag-rec forget resume" in told.to_do


def test_a_layer_of_which_the_receipt_says_nothing_is_waited_for(tmp_path: Path) -> None:
    said = [each for each in FINDINGS if each.layer is not LayerName.LOGS]
    told = outlook(tmp_path, ForgetState.UNLEARNED, said)
    assert [(each.layer, each.why) for each in told.waits_for] == [("logs", NOT_SAID)]


def test_a_receipt_that_cannot_be_read_does_not_keep_the_words_back(tmp_path: Path) -> None:
    record = replace(accepted(settings_for(tmp_path / "home"), "ada"), receipt="nonsense")
    told = Outlook.of(record)
    assert told.in_force == IN_FORCE[record.state]
    assert told.to_do == "Run `rag-rec ledger verify`."
