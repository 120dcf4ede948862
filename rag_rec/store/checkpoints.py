"""How far an interrupted ingest has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, bindparam, delete, insert, select

from rag_rec.store.database import Database
from rag_rec.store.records import AppendResult
from rag_rec.store.schema import ingest_checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a file has been ingested: ``position`` rows of it are done. ``key`` is a digest of file and options."""

    key: str
    position: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    suppressed: int = 0

    def after(self, result: AppendResult) -> Checkpoint:
        """The same position with a batch's outcome added."""
        return replace(
            self,
            accepted=self.accepted + result.accepted,
            duplicates=self.duplicates + result.duplicates,
            suppressed=self.suppressed + result.suppressed,
        )


def write_checkpoint(connection: Connection, checkpoint: Checkpoint) -> None:
    """Insert or replace a checkpoint."""
    clear_checkpoint(connection, checkpoint.key)
    connection.execute(insert(ingest_checkpoints), asdict(checkpoint))


def clear_checkpoint(connection: Connection, key: str) -> None:
    """Delete a checkpoint, if there is one."""
    connection.execute(delete(ingest_checkpoints).where(ingest_checkpoints.c.key == key))


class Checkpoints:
    """Reads checkpoints."""

    def __init__(self, database: Database) -> None:
        self._database = database
        same = ingest_checkpoints.c.key == bindparam("wanted")
        self._by_key = database.query("checkpoint", lambda: select(*ingest_checkpoints.c).where(same))

    def checkpoint(self, key: str) -> Checkpoint | None:
        """Where an interrupted ingest stopped."""
        with self._database.reader() as cursor:
            rows = self._by_key.rows(cursor, wanted=key)
        return Checkpoint(*rows[0]) if rows else None
