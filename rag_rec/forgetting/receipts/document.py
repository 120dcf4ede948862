"""The receipt: what is known of each layer after a removal, signed, and checked by anyone who has the public key.

A receipt is canonical JSON (RFC 8785). Its signature is over the same document without the field ``signature``. It
names the person only by pseudonym. :class:`Document` lists its fields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rag_rec.clock import iso, milliseconds_of
from rag_rec.errors import BrokenLedger, Unfinished
from rag_rec.forgetting.ledger import canonical
from rag_rec.identity.signing import Signer, Verifier
from rag_rec.layers.finding import FINAL, LATER, Finding, LayerName, Status, is_complete, layer_named
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store.records import LedgerTip

FORMAT: Final = "rag-rec/receipt/1"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a receipt says.

    Attributes:
        record: the request, in the state that it has reached.
        findings: of each layer.
        generation_before: digest of the index's manifest before the removal; None without an index.
        generation_after: the same after it.
        revision: counts the receipts of a request from 1 on.
        supersedes: SHA-256 of the earlier receipt's text; None for the first.
        twin: the table of a twin proof, if one was made.
        issued: milliseconds since 1970 UTC.
    """

    record: ForgetRecord
    findings: Sequence[Finding]
    generation_before: str | None
    generation_after: str | None
    revision: int
    supersedes: str | None
    twin: Mapping[str, Any] | None
    issued: int


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Epochs(_Part):
    """The store's epoch before the removal, and the removal's own."""

    before: int
    erasure: int


class Digests(_Part):
    """SHA-256 of the index's manifest before and after the removal."""

    before: str | None
    after: str | None


class Place(_Part):
    """Where the receipt stands in the ledger: the number of its entry, and the digest of the entry before."""

    sequence: int
    previous: str


class LayerLine(_Part):
    """What is known of one layer. ``until`` is a time for PENDING, else null."""

    layer: str
    status: str
    why: str
    until: str | None
    detail: dict[str, str | int | float | None]


class Document(_Part):
    """A signed receipt. Times are ISO 8601 in UTC; ``subject`` is ``hmac-sha256:`` and the person's pseudonym.

    ``complete`` speaks of every layer that holds a request back (:attr:`LayerName.holds_back`): each is named once and
    none is open; :func:`check_receipt` works it out anew.
    """

    format: Literal["rag-rec/receipt/1"]
    request: str
    batch: str | None
    revision: int
    supersedes: str | None
    subject: str
    pseudonym_key: str
    scope: str
    state: str
    complete: bool
    times: dict[str, str]
    accepted: str
    issued: str
    deadline: str
    epochs: Epochs
    generation: Digests
    removed: dict[str, int]
    layers: list[LayerLine]
    timings_ms: dict[str, float]
    twin: dict[str, Any] | None
    ledger: Place
    key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a receipt is worth.

    Attributes:
        valid: it is whole, in a known format, and signed with the key.
        complete: it is valid, and no layer that holds a request back is open.
        open: of these layers, those that are missing, named twice or pending; and what is of an unknown name or status.
        later: layers that hold no request back, and are pending.
        problems: why it is not valid, in words.
        document: its content, as far as it has the fields of a receipt; believe it only if valid.
    """

    valid: bool
    complete: bool
    open: tuple[str, ...]
    later: tuple[str, ...]
    problems: tuple[str, ...]
    document: dict[str, Any] | None


def write_receipt(facts: Facts, tip: LedgerTip, pseudonym_key_id: str, signer: Signer) -> str:
    """The signed receipt whose ledger entry will follow a tip.

    Raises:
        Unfinished: the request claims to be complete, and a layer is open; nothing was signed.
    """
    record = facts.record
    complete = is_complete((each.layer, each.status) for each in facts.findings)
    if record.state is ForgetState.COMPLETE and not complete:
        raise Unfinished("No receipt was signed: a layer is open. `rag-rec forget resume` takes the request up again.")
    content = {
        "format": FORMAT,
        "request": record.request_id,
        "batch": record.batch_id,
        "revision": facts.revision,
        "supersedes": facts.supersedes,
        "subject": f"hmac-sha256:{record.subject}",
        "pseudonym_key": pseudonym_key_id,
        "scope": record.scope,
        "state": record.state.value,
        "complete": complete,
        "times": {state: iso(time) for state, time in record.times.items()},
        "accepted": iso(record.created),
        "issued": iso(facts.issued),
        "deadline": iso(record.deadline),
        "epochs": {"before": record.epoch_before, "erasure": record.epoch_after},
        "generation": {"before": facts.generation_before, "after": facts.generation_after},
        "removed": record.removed,
        "layers": [_line(finding) for finding in facts.findings],
        "timings_ms": record.timings_ms,
        "twin": facts.twin,
        "ledger": {"sequence": tip.sequence + 1, "previous": tip.digest},
        "key": signer.key_id,
    }
    signature = signer.sign(canonical.dumps(content).encode())
    return canonical.dumps({**content, "signature": signature})


def read_receipt(text: str) -> dict[str, Any]:
    """The document of a receipt, unchecked but for its form.

    Raises:
        BrokenLedger: it is not the text of a receipt.
    """
    document, problem = _parsed(text)
    if document is None:
        raise BrokenLedger(f"This is not a receipt: {problem}. Take it from the ledger, which holds every receipt.")
    return document


def findings_in(text: str) -> list[Finding]:
    """What a receipt of this version says of each layer.

    Raises:
        BrokenLedger: it is not the text of a receipt.
    """
    return [_finding(line) for line in read_receipt(text)["layers"]]


def receipt_digest(text: str) -> str:
    """SHA-256 of a receipt's text: how its successor names it."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_receipt(text: str, verifier: Verifier) -> Verdict:
    """Check a receipt. Never raises: whatever the text is, the verdict says what is wrong with it."""
    document, problem = _parsed(text)
    if document is None:
        held = tuple(layer for layer in LayerName if layer.holds_back)
        return Verdict(valid=False, complete=False, open=held, later=(), problems=(problem,), document=None)
    pairs = [(line["layer"], line["status"]) for line in document["layers"]]
    covered = is_complete(pairs)
    problems = (*_signature_problems(document, verifier), *_contradictions(document, covered))
    return Verdict(
        valid=not problems,
        complete=covered and not problems,
        open=_open(pairs),
        later=_later(pairs),
        problems=problems,
        document=document,
    )


def _parsed(text: str) -> tuple[dict[str, Any] | None, str]:
    """The document, or what is wrong with its form."""
    try:
        document = canonical.loads(text)
        Document.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return None, f"the field {'.'.join(map(str, first['loc']))} is wrong ({first['msg']})"
    except ValueError as error:
        return None, f"it cannot be read, or was changed ({error}); save it byte for byte as it was given"
    return document, ""


def _signature_problems(document: Mapping[str, Any], verifier: Verifier) -> list[str]:
    if document["key"] != verifier.key_id:
        return [f"it was signed with the key {document['key']}, and this is the key {verifier.key_id}"]
    content = {name: value for name, value in document.items() if name != "signature"}
    if not verifier.verify(canonical.dumps(content).encode(), document["signature"]):
        return ["it was changed after it was signed, or signed with another key"]
    return []


def _contradictions(document: Mapping[str, Any], covered: bool) -> list[str]:
    problems = []
    if document["complete"] != covered:
        open_or_not = "none of its layers is open" if covered else "a layer is open"
        problems.append(f"it says that it is {'' if document['complete'] else 'not '}complete, and {open_or_not}")
    if document["state"] == ForgetState.COMPLETE and not covered:
        problems.append("its state is complete, and a layer is open")
    return problems


def _open(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    held = [layer for layer in LayerName if layer.holds_back]
    said = {layer: [status for name, status in pairs if name == layer] for layer in (*held, *dict(pairs))}
    return tuple(str(layer) for layer, statuses in said.items() if _is_open(layer, statuses))


def _is_open(layer: str, statuses: Sequence[str]) -> bool:
    if len(statuses) != 1:
        return True
    return statuses[0] not in (set(Status) if layer in LATER else FINAL)


def _later(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    pending = {layer for layer, status in pairs if status == Status.PENDING}
    return tuple(layer for layer in LayerName if layer in LATER and layer in pending)


def _line(finding: Finding) -> dict[str, Any]:
    until = None if finding.until is None else iso(finding.until)
    return {
        "layer": str(finding.layer),
        "status": finding.status.value,
        "why": finding.why,
        "until": until,
        "detail": finding.detail,
    }


def _finding(line: Mapping[str, Any]) -> Finding:
    until = None if line["until"] is None else milliseconds_of(line["until"])
    return Finding(layer_named(line["layer"]), Status(line["status"]), line["why"], until, dict(line["detail"]))
