"""Ingest: reads a source batch by batch into the store, and can be killed at any moment.

Each batch is one transaction that also stores a checkpoint, so that a run which was interrupted goes on behind its last
complete batch. A row that cannot be stored goes to the rejects file before the transaction is committed; on resuming,
what was written there by a batch that did not complete is dropped. A row that is already there changes nothing, so that
a file can be ingested again at will.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from indexer.entity_rows import AttributeTypes, Entity, EntityRows, item_rows, observe, user_rows
from indexer.interaction_rows import InteractionRows
from indexer.mapping import ColumnMap
from indexer.rejects import RejectsFile, first_rejects
from indexer.sources.batch import Batch, Kind, Reject, Source
from indexer.times import TimeUnit
from rag_rec.domain import Item
from rag_rec.progress.protocol import Progress
from rag_rec.store import SqlStore
from rag_rec.store.checkpoints import Checkpoint
from rag_rec.store.records import AppendResult
from rag_rec.validation import Limits

BATCH_ROWS = 100_000

SHOWN = 5
"""So many rejected rows of a source are shown; the rejects file has all of them."""

Write = Callable[[Batch, RejectsFile, Checkpoint], Checkpoint]
"""Stores a batch after the checkpoint before it; returns the checkpoint after it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the rows of a source are to be understood."""

    columns: Sequence[str] = ()  # FIELD=COLUMN, see ColumnMap
    lists: frozenset[str] = frozenset()
    event: str | None = None  # of rows that name none; None: a rating where there is a value, else an interaction
    time_unit: TimeUnit = TimeUnit.AUTO

    def key(self, source: Source) -> str:
        """Identifies the source's content and how it is read: the key of its checkpoint."""
        options = [str(source.kind), sorted(self.columns), sorted(self.lists), self.event, str(self.time_unit)]
        return hashlib.sha256(orjson.dumps([source.digest, *options])).hexdigest()


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of the rows of a source.

    ``suppressed`` rows are about people or events that have been forgotten: they are left out, and listed nowhere.
    ``resumed`` rows were done by an earlier run that was interrupted.
    """

    kind: Kind
    accepted: int
    duplicates: int
    suppressed: int
    rejected: int
    resumed: int
    seconds: float
    rejects: Path | None
    first_rejects: Sequence[Reject] = ()

    @property
    def rows(self) -> int:
        """Rows of the source."""
        return self.accepted + self.duplicates + self.suppressed + self.rejected


@dataclass(frozen=True)
class Ingest:
    """Reads sources into a store."""

    store: SqlStore
    limits: Limits
    progress: Progress
    batch_rows: int = BATCH_ROWS
    reading: Reading = field(default_factory=Reading)

    def run(self, source: Source, rejects: Path) -> IngestResult:
        """Ingest a source, from where an interrupted run of the same source stopped.

        Raises:
            InvalidInput: if the source as a whole cannot be read; complete batches before that are kept.
        """
        began = time.perf_counter()
        key = self.reading.key(source)
        start = self.store.checkpoint(key) or Checkpoint(key)
        with _cycle_collection_paused():
            done = self._batches(source, start, RejectsFile(rejects, start.rejected))
        self.store.clear_checkpoint(key)
        return IngestResult(
            kind=source.kind,
            accepted=done.accepted,
            duplicates=done.duplicates,
            suppressed=done.suppressed,
            rejected=done.rejected,
            resumed=start.position,
            seconds=time.perf_counter() - began,
            rejects=rejects if done.rejected else None,
            first_rejects=first_rejects(rejects, SHOWN) if done.rejected else (),
        )

    def _batches(self, source: Source, start: Checkpoint, rejects: RejectsFile) -> Checkpoint:
        write = self._writer(source)
        self.progress.stage(f"{source.kind} from {source.name}", source.rows)
        self.progress.advance(start.position)
        done = start
        for batch in source.batches(self.batch_rows, start.position):
            rows = batch.position - done.position
            done = write(batch, rejects, done)
            self.progress.advance(rows)
        return done

    def _writer(self, source: Source) -> Write:
        columns = ColumnMap.parse(source.kind, self.reading.columns)
        self._check_columns(source, columns)
        if source.kind is Kind.INTERACTIONS:
            return self._interactions(columns)
        return self._entities(source, columns)

    def _check_columns(self, source: Source, columns: ColumnMap) -> None:
        first = next(source.batches(1000), None)
        # A file of objects names its columns only in its rows: without a readable row there is nothing to check.
        if first is not None and first.columns:
            columns.check(first.columns)

    def _interactions(self, columns: ColumnMap) -> Write:
        reading = self.reading
        rows = InteractionRows(columns, self.limits, self.store.known_items, reading.event, reading.time_unit)

        def write(batch: Batch, rejects: RejectsFile, before: Checkpoint) -> Checkpoint:
            frame, refused = rows.read(batch)
            rejects.append(refused)
            reached = _reached(before, batch, refused)
            return reached.after(self.store.append_frame(frame, reached))

        return write

    def _entities(self, source: Source, columns: ColumnMap) -> Write:
        types = None if source.typed else self._attribute_types(source, columns)
        if source.kind is Kind.ITEMS:
            items = item_rows(columns, self.limits, self.reading.lists, types)
            return _entity_writer(items, self._put_items)
        users = user_rows(columns, self.limits, self.reading.lists, types)
        return _entity_writer(users, self.store.admit_users)

    def _put_items(self, items: Sequence[Item], checkpoint: Checkpoint | None) -> AppendResult:
        changed = self.store.put_items(items, checkpoint)
        return AppendResult(changed, len(items) - changed)

    def _attribute_types(self, source: Source, columns: ColumnMap) -> AttributeTypes:
        types = AttributeTypes()
        for batch in source.batches(self.batch_rows):
            observe(types, batch, columns.attributes(batch.columns))
        return types


def _entity_writer(
    rows: EntityRows[Entity], put: Callable[[Sequence[Entity], Checkpoint | None], AppendResult]
) -> Write:
    def write(batch: Batch, rejects: RejectsFile, before: Checkpoint) -> Checkpoint:
        entities, refused = rows.read(batch)
        rejects.append(refused)
        reached = _reached(before, batch, refused)
        return reached.after(put(entities, reached))

    return write


@contextmanager
def _cycle_collection_paused() -> Iterator[None]:
    """Rows hold no reference cycles; looking for some among millions of cells takes 40 % of an ingest's time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _reached(before: Checkpoint, batch: Batch, refused: Sequence[Reject]) -> Checkpoint:
    """The checkpoint at the end of a batch, its outcome in the store not yet counted."""
    return replace(before, position=batch.position, rejected=before.rejected + len(refused))
