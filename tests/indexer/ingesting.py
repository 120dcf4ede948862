"""Runs ingests in tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from indexer.ingest import Ingest, IngestResult, Reading
from indexer.sources.batch import Kind, Source
from indexer.sources.csv import CsvSource
from indexer.sources.files import File
from indexer.sources.jsonl import JsonlSource
from rag_rec.progress.protocol import Silent
from rag_rec.store import SqlStore
from rag_rec.validation import Limits

NOW = 1_700_000_000_000


def ingest(
    store: SqlStore, source: Source, rejects: Path, reading: Reading | None = None, rows: int = 7
) -> IngestResult:
    """Ingest in small batches."""
    return Ingest(store, Limits(20_000, NOW), Silent(), rows, reading or Reading()).run(source, rejects)


def csv_source(path: Path, content: str | bytes, kind: Kind = Kind.INTERACTIONS) -> CsvSource:
    """A CSV file with this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return CsvSource(File.at(path), kind)


def jsonl_source(path: Path, rows: Sequence[object], kind: Kind = Kind.INTERACTIONS) -> JsonlSource:
    """A file of JSON objects; a text stands for a line as it is."""
    lines = [row.encode() if isinstance(row, str) else orjson.dumps(row) for row in rows]
    path.write_bytes(b"\n".join(lines))
    return JsonlSource(File.at(path), kind)


def rejected(path: Path) -> list[tuple[int, str]]:
    """Lines and reasons of a rejects file; none if there is no file."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert all(set(row) == {"line", "reason"} for row in rows)
    return [(row["line"], row["reason"]) for row in rows]
