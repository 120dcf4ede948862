"""Records of forget requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select

from rag_rec.layers.records import Erasure, ForgetRecord, ForgetState
from rag_rec.store.chain import append_entries, tip
from rag_rec.store.part import Part
from rag_rec.store.partitions import mark_requests
from rag_rec.store.protocol import Compose
from rag_rec.store.schema import forget_requests

_ENCODED = ("times", "removed", "timings_ms")
_UNFINISHED = tuple(state.value for state in ForgetState if state is not ForgetState.COMPLETE)
_mine = forget_requests.c


def write_records(connection: Connection, records: Sequence[ForgetRecord]) -> None:
    """Insert or replace the records of forget requests."""
    if not records:
        return
    mark_requests(connection, [record.request_id for record in records])
    replaced = delete(forget_requests).where(_mine.request_id == bindparam("replaced"))
    connection.execute(replaced, [{"replaced": record.request_id} for record in records])
    connection.execute(insert(forget_requests), [_encode(record) for record in records])


def accepted(erasure: Erasure, before: int, epoch: int, hidden: int, removed: Mapping[str, int]) -> ForgetRecord:
    """The record of a request that has just been carried out in the store, and nowhere else.

    Args:
        erasure: what was asked for.
        before: the epoch of the store until then.
        epoch: of the removal.
        hidden: the time of the removal, in milliseconds.
        removed: rows by kind.
    """
    return ForgetRecord(
        request_id=erasure.request_id,
        batch_id=erasure.batch_id,
        subject=erasure.subject,
        plan=erasure.plan,
        scope=erasure.scope,
        state=ForgetState.HIDDEN,
        user_number=erasure.user_number,
        epoch_before=before,
        epoch_after=epoch,
        created=erasure.created,
        deadline=erasure.deadline,
        times={ForgetState.ACCEPTED.value: erasure.created, ForgetState.HIDDEN.value: hidden},
        removed=removed,
    )


class Requests(Part):
    """Records of forget requests."""

    def extend_ledger(self, compose: Compose) -> None:
        """Append entries to the ledger and replace records, in one durable transaction."""
        with self._database.writer() as connection:
            end = tip(connection)
            entries, records = compose(end)
            append_entries(connection, end, entries)
            write_records(connection, records)

    def forget_record(self, request_id: str) -> ForgetRecord | None:
        """The record of a forget request."""
        found = self._records({"request_id": request_id}, pending=False)
        return found[0] if found else None

    def forget_records(
        self,
        *,
        plan: str | None = None,
        batch_id: str | None = None,
        subject: str | None = None,
        pending: bool = False,
        newest: int | None = None,
    ) -> list[ForgetRecord]:
        """Records by (created, epoch_after) that meet every condition given, of these the ``newest`` so many."""
        wanted = {"plan": plan, "batch_id": batch_id, "subject": subject}
        return self._records({name: value for name, value in wanted.items() if value is not None}, pending, newest)

    def _records(self, wanted: Mapping[str, str], pending: bool, newest: int | None = None) -> list[ForgetRecord]:
        limited = newest is not None
        query = self._database.query(
            ("forget", *wanted, pending, limited), lambda: _statement(wanted, pending, limited)
        )
        values: dict[str, Any] = {f"wanted_{name}": value for name, value in wanted.items()}
        with self._database.reader() as cursor:
            rows = query.rows(cursor, **values, **({"newest": newest} if limited else {}))
        return [_decode(row) for row in (rows[::-1] if limited else rows)]


def _statement(wanted: Mapping[str, str], pending: bool, limited: bool) -> Any:
    same = [_mine[name] == bindparam(f"wanted_{name}") for name in wanted]
    # Named one by one, the states can be looked up in the index; "not complete" could not.
    unfinished: list[BindParameter[str]] = [bindparam(f"state_{at}", state) for at, state in enumerate(_UNFINISHED)]
    open_ones = [_mine.state.in_(unfinished)] if pending else []
    found = select(*_mine).where(*same, *open_ones)
    if limited:
        return found.order_by(_mine.created.desc(), _mine.epoch_after.desc()).limit(bindparam("newest"))
    return found.order_by(_mine.created, _mine.epoch_after)


def _encode(record: ForgetRecord) -> dict[str, Any]:
    row = asdict(record) | {"state": record.state.value}
    return row | {name: orjson.dumps(row[name], option=orjson.OPT_SORT_KEYS).decode() for name in _ENCODED}


def _decode(row: Sequence[Any]) -> ForgetRecord:
    columns = dict(zip(_mine.keys(), row, strict=True))
    decoded = {name: orjson.loads(columns.pop(name)) for name in _ENCODED}
    return ForgetRecord(**columns | decoded | {"state": ForgetState(columns["state"])})
