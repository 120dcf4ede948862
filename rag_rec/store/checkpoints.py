"""How far an interrupted ingest has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, bindparam, delete, insert, select

from rag_rec.store.part import Part
from rag_rec.store.records import AppendResult
from rag_rec.store.schema import ingest_checkpoints

_BY_KEY = select(*ingest_checkpoints.c).where(ingest_checkpoints.c.key == bindparam("wanted"))


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
    delete_checkpoint(connection, checkpoint.key)
    connection.execute(insert(ingest_checkpoints), asdict(checkpoint))


def delete_checkpoint(connection: Connection, key: str) -> None:
    """Delete a checkpoint, if there is one."""
    connection.execute(delete(ingest_checkpoints).where(ingest_checkpoints.c.key == key))


class Checkpoints(Part):
    """Checkpoints of ingests."""

    def checkpoint(self, key: str) -> Checkpoint | None:
        """Where an interrupted ingest stopped."""
        rows = self._database.rows(_BY_KEY, wanted=key)
        return Checkpoint(*rows[0]) if rows else None

    def clear_checkpoint(self, key: str) -> None:
        """Forget the progress of an ingest that is complete."""
        with self._database.writer() as connection:
            delete_checkpoint(connection, key)
