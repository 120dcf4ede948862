"""Records of forget requests: looked up by the id that somebody was given, and as commands tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rag_rec.clock import iso
from rag_rec.errors import UnknownRequest
from rag_rec.forgetting.receipts.conclusion import ORDER
from rag_rec.forgetting.receipts.document import read_receipt
from rag_rec.forgetting.receipts.outlook import Outlook
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store.protocol import Store

NAMED: Final = 5
"""So many requests of a batch are named in a message."""


def record_of(store: Store, request_id: str) -> ForgetRecord:
    """The record of one request.

    Raises:
        UnknownRequest: there is no such request, or it is the id of a batch, whose requests have records of their own.
    """
    record = store.forget_record(request_id)
    if record is not None:
        return record
    batch = store.forget_records(batch_id=request_id)
    if not batch:
        raise UnknownRequest("There is no such forget request: `rag-rec forget list`, or GET /v1/forget, lists them.")
    named = ", ".join(each.request_id for each in batch[:NAMED])
    raise UnknownRequest(
        f"This is the id of a batch: each of its {len(batch)} requests has a receipt of its own ({named}"
        f"{', ...' if len(batch) > NAMED else ''}). `rag-rec forget status`, or GET /v1/forget with the batch's id, "
        "lists them all."
    )


def described(record: ForgetRecord) -> dict[str, Any]:
    """A record as commands give it to programs: it names no person."""
    return {
        "request": record.request_id,
        "batch": record.batch_id,
        "scope": record.scope,
        "state": record.state.value,
        "accepted": iso(record.created),
        "deadline": iso(record.deadline),
        "epoch_after": record.epoch_after,
        "removed": dict(record.removed),
    }


def status_of(record: ForgetRecord) -> dict[str, Any]:
    """All there is to say of a record, for programs: also whom it means, by pseudonym, what is in force, what is waited
    for, and what to do."""
    document = None if record.receipt is None else read_receipt(record.receipt)
    return described(record) | {
        "subject": f"hmac-sha256:{record.subject}",
        "times": {state.value: iso(record.times[state]) for state in ORDER if state in record.times},
        "receipt_revision": None if document is None else document["revision"],
        **Outlook.of(record).content(),
    }


def status_in_words(record: ForgetRecord, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The same for people; ``names`` says what the ids of services stand for."""
    told = status_of(record)
    states = [{"state": state, "reached": time} for state, time in told["times"].items()]
    revision = told["receipt_revision"]
    receipt = "none yet" if revision is None else f"revision {revision} (rag-rec receipt show {record.request_id})"
    return {
        **{name: told[name] for name in ("request", "batch", "subject", "scope", "state", "accepted", "deadline")},
        "removed": told["removed"],
        "states": states,
        "receipt": receipt,
        **Outlook.of(record).words(names),
    }


def services(store: Store) -> dict[str, str]:
    """Host and process of the running services by their id."""
    return {replica.id: f"process {replica.process} on {replica.host}" for replica in store.replicas()}


def waits_for(record: ForgetRecord) -> str | None:
    """The layers that keep a request open, in short, for a line of a list: "adapter (until 2026-01-31T12:00:00Z)".

    None where it is complete.
    """
    if record.state is ForgetState.COMPLETE:
        return None
    waits, elsewhere = Outlook.of(record).waits_for, _awaited(record)
    named = [f"{each.layer} (until {each.until})" if each.until else each.layer for each in waits]
    named += [f"the data folders {elsewhere}"] if elsewhere else []
    return ", ".join(named) or "its first attempt to finish (rag-rec forget resume)"


def _awaited(record: ForgetRecord) -> str | None:
    """The data folders that have not looked at their files since, as the receipt names them."""
    lines = [] if record.receipt is None else read_receipt(record.receipt)["layers"]
    return next((line["detail"]["awaited"] for line in lines if "awaited" in line["detail"]), None)


def described_batch(records: Sequence[ForgetRecord]) -> dict[str, Any]:
    """A batch in the fields of a request: the state is that of the least advanced, and rows removed are summed."""
    return described(records[0]) | {
        "request": None,
        "state": least_advanced(records).state.value,
        "epoch_after": max(record.epoch_after for record in records),
        "removed": summed(records),
    }


def least_advanced(records: Sequence[ForgetRecord]) -> ForgetRecord:
    """The first of the records whose state is the least advanced: it stands for a batch."""
    return min(records, key=lambda record: ORDER.index(record.state))


def summed(records: Sequence[ForgetRecord]) -> Mapping[str, int]:
    """Rows removed by several requests, by kind."""
    kinds = sorted({kind for record in records for kind in record.removed})
    return {kind: sum(record.removed.get(kind, 0) for record in records) for kind in kinds}


def row(record: ForgetRecord) -> dict[str, Any]:
    """A record as a line of a list for people."""
    return {
        "request": record.request_id,
        "batch": record.batch_id,
        "scope": record.scope,
        "state": record.state.value,
        "deadline": iso(record.deadline, "seconds"),
    }
