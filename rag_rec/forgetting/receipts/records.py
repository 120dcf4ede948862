"""Records of forget requests: looked up by the id that somebody was given, and as commands tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rag_rec.errors import UnknownRequest
from rag_rec.forgetting.receipts.conclusion import ORDER
from rag_rec.store.protocol import Store
from rag_rec.store.records import ForgetRecord

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
        raise UnknownRequest("There is no such forget request: `rag-rec forget list` lists them.")
    named = ", ".join(each.request_id for each in batch[:NAMED])
    raise UnknownRequest(
        f"This is the id of a batch: each of its {len(batch)} requests has a receipt of its own ({named}"
        f"{', ...' if len(batch) > NAMED else ''}). `rag-rec forget status`, or GET /v1/forget with the batch's id, "
        "lists them all."
    )


def described(record: ForgetRecord) -> dict[str, Any]:
    """A record as commands give it to programs: it names nobody."""
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


def described_batch(records: Sequence[ForgetRecord]) -> dict[str, Any]:
    """A batch in the fields of a request: the state is that of the least advanced, and rows removed are summed."""
    first = records[0]
    return described(first) | {
        "request": None,
        "state": min((record.state for record in records), key=ORDER.index).value,
        "epoch_after": max(record.epoch_after for record in records),
        "removed": summed(records),
    }


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
        "deadline": iso(record.deadline, "seconds").replace("+00:00", "Z"),
    }


def iso(milliseconds: int, timespec: str = "milliseconds") -> str:
    """A time since 1970 UTC in ISO 8601."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec=timespec)
