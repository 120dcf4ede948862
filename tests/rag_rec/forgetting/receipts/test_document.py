from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rag_rec.errors import BrokenLedger, Unfinished
from rag_rec.forgetting.ledger import canonical
from rag_rec.forgetting.ledger.chain import EMPTY, make_entry, tip_after
from rag_rec.forgetting.receipts.document import (
    Facts,
    check_receipt,
    findings_in,
    read_receipt,
    receipt_digest,
    write_receipt,
)
from rag_rec.identity.signing import Signer, Verifier
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.records import ForgetRecord, ForgetState

SIGNER = Signer(b"s" * 32)
FOREIGN = Signer(b"f" * 32)
UNTIL = 1_800_000_000_123
RECORD = ForgetRecord(
    request_id="r" * 32,
    batch_id=None,
    subject="5" * 64,
    plan="p" * 64,
    scope="user",
    state=ForgetState.COMPLETE,
    user_number=None,
    epoch_before=7,
    epoch_after=8,
    created=1_700_000_000_000,
    deadline=1_702_592_000_000,
    times={"hidden": 1_700_000_000_000, "complete": 1_700_000_000_250},
    removed={"users": 1, "interactions": 6},
    timings_ms={"store": 12.5, "files": 3.0},
)
HELD = [layer for layer in LayerName if layer.holds_back]
PROVEN = [Finding(layer, Status.PROVEN, f"{layer} was looked at.", None, {"rows": 0}) for layer in LayerName]


def facts(findings: list[Finding], **changes: Any) -> Facts:
    state = ForgetState.COMPLETE if findings == PROVEN else ForgetState.EFFECTIVE
    standard: dict[str, Any] = {
        "record": replace(RECORD, state=state),
        "findings": findings,
        "generation_before": "b" * 64,
        "generation_after": "a" * 64,
        "revision": 1,
        "supersedes": None,
        "twin": None,
        "issued": 1_700_000_000_300,
    }
    return Facts(**(standard | changes))


def written(findings: list[Finding] = PROVEN, signer: Signer = SIGNER, **changes: Any) -> str:
    return write_receipt(facts(findings, **changes), EMPTY, "k" * 16, signer)


def signed(document: Mapping[str, Any], signer: Signer = SIGNER) -> str:
    """Any document at all, well signed: what somebody with the key could make the world believe."""
    content = {name: value for name, value in document.items() if name != "signature"} | {"key": signer.key_id}
    return canonical.dumps({**content, "signature": signer.sign(canonical.dumps(content).encode())})


def with_layers(change: Callable[[list[dict[str, Any]]], object], **fields: Any) -> str:
    document = read_receipt(written())
    change(document["layers"])
    return signed(document | fields)


RECEIPT = written()


def test_a_receipt_says_what_was_done_and_verifies_with_the_public_key_alone() -> None:
    verdict = check_receipt(RECEIPT, Verifier.from_pem(SIGNER.public_pem))
    assert (verdict.valid, verdict.complete, verdict.open, verdict.problems) == (True, True, (), ())
    assert verdict.document == read_receipt(RECEIPT)
    document = read_receipt(RECEIPT)
    assert document | {"layers": None, "signature": None} == {
        "format": "rag-rec/receipt/1",
        "request": "r" * 32,
        "batch": None,
        "revision": 1,
        "supersedes": None,
        "subject": f"hmac-sha256:{'5' * 64}",
        "pseudonym_key": "k" * 16,
        "scope": "user",
        "state": "complete",
        "complete": True,
        "times": {"hidden": "2023-11-14T22:13:20.000Z", "complete": "2023-11-14T22:13:20.250Z"},
        "accepted": "2023-11-14T22:13:20.000Z",
        "issued": "2023-11-14T22:13:20.300Z",
        "deadline": "2023-12-14T22:13:20.000Z",
        "epochs": {"before": 7, "erasure": 8},
        "generation": {"before": "b" * 64, "after": "a" * 64},
        "removed": {"users": 1, "interactions": 6},
        "layers": None,
        "timings_ms": {"store": 12.5, "files": 3},
        "twin": None,
        "ledger": {"sequence": 1, "previous": "0" * 64},
        "key": SIGNER.key_id,
        "signature": None,
    }


def test_the_ledger_holds_a_receipt_byte_for_byte_at_the_place_that_it_names() -> None:
    tip = tip_after(make_entry(EMPTY, "erasure", {"request": "r"}, SIGNER))
    text = write_receipt(facts(PROVEN), tip, "k" * 16, SIGNER)
    entry = make_entry(tip, "receipt", read_receipt(text), SIGNER)
    assert entry.body == text
    assert read_receipt(text)["ledger"] == {"sequence": entry.sequence, "previous": entry.previous}


def test_findings_come_back_from_a_receipt() -> None:
    findings = [replace(PROVEN[0], status=Status.PENDING, until=UNTIL, detail={"x": None, "y": 0.5, "z": "a"})]
    assert findings_in(written([*findings, *PROVEN[1:]])) == [*findings, *PROVEN[1:]]


def test_a_later_receipt_names_the_one_before() -> None:
    later = written(revision=2, supersedes=receipt_digest(RECEIPT), twin={"rows": [{"equal": True, "share": 1e-9}]})
    assert check_receipt(later, SIGNER.verifier).valid
    assert read_receipt(later)["supersedes"] == receipt_digest(RECEIPT)
    assert receipt_digest(later) != receipt_digest(RECEIPT)


def test_figures_that_json_cannot_carry_do_not_stop_a_receipt() -> None:
    findings = [replace(PROVEN[0], detail={"worst": math.nan, "bytes": 2**60}), *PROVEN[1:]]
    text = written(findings, twin={"ratio": math.inf})
    assert check_receipt(text, SIGNER.verifier).complete
    assert read_receipt(text)["layers"][0]["detail"] == {"worst": "nan", "bytes": str(2**60)}


@given(st.data())
def test_every_change_of_a_character_is_detected(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(RECEIPT)))
    ends = data.draw(st.integers(place, min(place + 2, len(RECEIPT))))
    put = data.draw(st.text(max_size=2))
    changed = RECEIPT[:place] + put + RECEIPT[ends:]
    assume(changed != RECEIPT)
    verdict = check_receipt(changed, SIGNER.verifier)
    assert not verdict.valid
    assert not verdict.complete
    assert verdict.problems


@given(st.data())
def test_every_change_of_a_field_is_detected(data: st.DataObject) -> None:
    document = read_receipt(RECEIPT)
    name = data.draw(st.sampled_from(sorted(document)))
    value: object = data.draw(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc0", max_size=4) | st.just([])
    )
    assume(value != document[name] or type(value) is not type(document[name]))
    assert not check_receipt(canonical.dumps(document | {name: value}), SIGNER.verifier).valid


@given(st.sampled_from(sorted(read_receipt(RECEIPT))))
def test_a_receipt_that_lacks_a_field_is_not_valid_even_if_it_is_signed(name: str) -> None:
    document = {key: value for key, value in read_receipt(RECEIPT).items() if key != name}
    for text in (canonical.dumps(document), signed(document)):
        assert check_receipt(text, SIGNER.verifier).valid is (text == RECEIPT)  # signing puts key and signature back


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "rag-rec/receipt/2"}, "format"),
        ({"complete": "yes"}, "complete"),
        ({"complete": 1}, "complete"),
        ({"epochs": {"before": 1}}, "epochs.erasure"),
        ({"removed": {"users": "1"}}, "removed.users"),
        ({"layers": [{"layer": "store"}]}, "layers.0"),
        ({"layers": "all"}, "layers"),
        ({"twin": []}, "twin"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_signed_document_of_another_form_is_no_receipt(change: dict[str, Any], reason: str) -> None:
    verdict = check_receipt(signed(read_receipt(RECEIPT) | change), SIGNER.verifier)
    assert not verdict.valid
    assert verdict.document is None
    assert verdict.open == tuple(HELD)
    assert f"the field {reason}" in verdict.problems[0]


@given(st.text() | st.recursive(st.none() | st.integers() | st.text("ab"), st.lists).map(canonical.dumps))
def test_garbage_gets_a_verdict(text: str) -> None:
    verdict = check_receipt(text, SIGNER.verifier)
    assert not verdict.valid
    with pytest.raises(BrokenLedger, match="not a receipt"):
        read_receipt(text)


def test_a_document_nested_beyond_measure_gets_a_verdict() -> None:
    nested: dict[str, Any] = {}
    for _ in range(150):
        nested = {"n": nested}
    text = signed(read_receipt(RECEIPT) | {"twin": nested})
    assert check_receipt(text, SIGNER.verifier).valid
    deep = text.replace('"twin":{', '"twin":{' + '"n":{' * 700, 1).replace("}" * 151, "}" * 851, 1)
    assert "nested too deeply" in check_receipt(deep, SIGNER.verifier).problems[0]


def test_another_key_is_named() -> None:
    verdict = check_receipt(RECEIPT, FOREIGN.verifier)
    assert not verdict.valid
    assert SIGNER.key_id in verdict.problems[0]
    assert FOREIGN.key_id in verdict.problems[0]


def test_a_forger_who_claims_the_key_is_found_out() -> None:
    forged = canonical.loads(signed(read_receipt(RECEIPT), FOREIGN)) | {"key": SIGNER.key_id}
    verdict = check_receipt(canonical.dumps(forged), SIGNER.verifier)
    assert not verdict.valid
    assert "signed with another key" in verdict.problems[0]


@pytest.mark.parametrize("place", range(len(HELD)), ids=HELD)
def test_a_pending_layer_is_valid_and_named_and_not_complete(place: int) -> None:
    pending = replace(PROVEN[place], status=Status.PENDING, until=UNTIL)
    text = written([*PROVEN[:place], pending, *PROVEN[place + 1 :]])
    verdict = check_receipt(text, SIGNER.verifier)
    assert (verdict.valid, verdict.complete, verdict.open) == (True, False, (str(pending.layer),))
    assert read_receipt(text)["layers"][place]["until"] == "2027-01-15T08:00:00.123Z"


MUTATIONS: dict[str, Callable[[list[dict[str, Any]], int], object]] = {
    "dropped": lambda layers, place: layers.pop(place),
    "pending": lambda layers, place: layers[place].update(status="PENDING"),
    "unknown status": lambda layers, place: layers[place].update(status="FINE"),
    "unknown layer": lambda layers, place: layers[place].update(layer="elsewhere"),
    "twice": lambda layers, place: layers.append(dict(layers[place])),
    "twice, once pending": lambda layers, place: layers.append({**layers[place], "status": "PENDING"}),
    "in the place of another": lambda layers, place: layers.__setitem__(place, dict(layers[place - 1])),
}


@pytest.mark.parametrize("place", range(len(HELD)), ids=HELD)
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_no_mutation_of_a_layer_reads_as_complete(mutation: str, place: int) -> None:
    def change(layers: list[dict[str, Any]]) -> None:
        MUTATIONS[mutation](layers, place)

    honest = check_receipt(with_layers(change, complete=False, state="effective"), SIGNER.verifier)
    assert honest.valid
    assert not honest.complete
    assert honest.open
    for lie in ({"complete": True, "state": "effective"}, {"complete": False, "state": "complete"}, {}):
        verdict = check_receipt(with_layers(change, **lie), SIGNER.verifier)
        assert not verdict.valid
        assert not verdict.complete


def test_a_receipt_that_hides_that_it_is_complete_contradicts_itself() -> None:
    verdict = check_receipt(with_layers(lambda _: None, complete=False), SIGNER.verifier)
    assert not verdict.valid
    assert not verdict.complete
    assert verdict.open == ()
    assert verdict.problems[-1] == "it says that it is not complete, and none of its layers is open"
    lie = check_receipt(with_layers(lambda layers: layers.clear(), complete=True, state="effective"), SIGNER.verifier)
    assert lie.problems[-1] == "it says that it is complete, and a layer is open"


@pytest.mark.parametrize("place", range(len(HELD)), ids=HELD)
def test_nothing_is_signed_that_claims_to_be_complete_and_is_not(place: int) -> None:
    missing = [*PROVEN[:place], *PROVEN[place + 1 :]]
    with pytest.raises(Unfinished, match="No receipt was signed"):
        written(missing, record=RECORD)
    text = written(missing)
    assert read_receipt(text)["complete"] is False
    assert check_receipt(text, SIGNER.verifier).open == (str(PROVEN[place].layer),)


def test_freed_memory_is_named_when_it_is_pending_and_a_receipt_that_is_older_than_it_stays_complete() -> None:
    freed = Finding(LayerName.FREED, Status.PENDING, "Processes run.")
    verdict = check_receipt(written([*PROVEN[: len(HELD)], freed], record=RECORD), SIGNER.verifier)
    assert (verdict.valid, verdict.complete, verdict.open, verdict.later) == (True, True, (), (LayerName.FREED,))
    older = check_receipt(written(PROVEN[: len(HELD)], record=RECORD), SIGNER.verifier)
    assert (older.valid, older.complete, older.open, older.later) == (True, True, (), ())
