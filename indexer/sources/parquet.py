"""Parquet files. A row's line is its number, from 1."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.sources.batch import Batch, Kind
from rag_rec.errors import InvalidInput


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file."""

    path: Path
    kind: Kind
    typed: bool = True

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @cached_property
    def digest(self) -> str:
        """Digest of the content."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @property
    def rows(self) -> int:
        """Rows, as the file's footer states."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def batches(self, size: int, skip: int = 0) -> Iterator[Batch]:
        """Batches of cells with the types of the file."""
        position = 0
        with self._open() as file:
            for table in self._record_batches(file, size):
                start, position = position, position + table.num_rows
                if position <= skip:
                    continue
                fresh = table.slice(max(skip - start, 0))
                lines = range(position - fresh.num_rows + 1, position + 1)
                yield Batch(position, list(lines), fresh.to_pydict())

    def _open(self) -> pq.ParquetFile:
        if not self.path.is_file():
            raise InvalidInput(f"There is no file {self.path}.")
        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError):
            raise InvalidInput(f"{self.name} is not a complete Parquet file.") from None

    def _record_batches(self, file: pq.ParquetFile, size: int) -> Iterator[pa.RecordBatch]:
        try:
            yield from file.iter_batches(batch_size=size)
        except (pa.ArrowException, OSError):
            raise InvalidInput(f"{self.name} is a damaged Parquet file; what came before is stored.") from None
