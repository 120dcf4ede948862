"""Records of forget requests, and how far an interrupted ingest has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select

from rag_rec.store.database import Database
from rag_rec.store.protocol import AppendResult, ForgetRecord
from rag_rec.store.schema import forget_requests, ingest_checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a file has been ingested: ``position`` rows of it are done. ``key`` is a digest of file and options."""

    key: str
    position: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0

    def after(self, result: AppendResult) -> Checkpoint:
        """The same position with a batch's outcome added."""
        accepted, duplicates = self.accepted + result.accepted, self.duplicates + result.duplicates
        return replace(self, accepted=accepted, duplicates=duplicates)


def write_record(connection: Connection, forget: ForgetRecord) -> None:
    """Insert or replace the record of a forget request."""
    row = asdict(forget) | {"removed": _encode(forget.removed), "timings_ms": _encode(forget.timings_ms)}
    connection.execute(delete(forget_requests).where(forget_requests.c.request_id == forget.request_id))
    connection.execute(insert(forget_requests), row)


def write_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    """Insert or replace a checkpoint."""
    clear_checkpoint(connection, checkpoint.key)
    connection.execute(insert(ingest_checkpoints), asdict(checkpoint))


def clear_checkpoint(connection: Connection, key: str) -> None:
    """Delete a checkpoint, if there is one."""
    connection.execute(delete(ingest_checkpoints).where(ingest_checkpoints.c.key == key))


class Ledger:
    """Reads forget records and checkpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database
        wanted = forget_requests.c.request_id == bindparam("key")
        self._record = database.query("forget", lambda: select(*forget_requests.c).where(wanted))
        same = ingest_checkpoints.c.key == bindparam("wanted")
        self._checkpoint = database.query("checkpoint", lambda: select(*ingest_checkpoints.c).where(same))

    def forget_record(self, request_id: str) -> ForgetRecord | None:
        """The record of a forget request."""
        with self._database.reader() as cursor:
            rows = self._record.rows(cursor, key=request_id)
        if not rows:
            return None
        columns = dict(zip(forget_requests.c.keys(), rows[0], strict=True))
        decoded = {name: orjson.loads(columns.pop(name)) for name in ("removed", "timings_ms")}
        return ForgetRecord(**columns, **decoded)

    def checkpoint(self, key: str) -> Checkpoint | None:
        """Where an interrupted ingest stopped."""
        with self._database.reader() as cursor:
            rows = self._checkpoint.rows(cursor, wanted=key)
        return Checkpoint(*rows[0]) if rows else None


def _encode(counts: Mapping[str, float]) -> str:
    return orjson.dumps(dict(counts), option=orjson.OPT_SORT_KEYS).decode()
