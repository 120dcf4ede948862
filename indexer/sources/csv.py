"""CSV files with a header."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from indexer.sources.batch import Batch, Kind
from indexer.sources.bounds import MOST_COLUMNS, Lines
from indexer.sources.files import File, LineFile
from indexer.sources.rows import NumberedRow, batches
from rag_rec.errors import InvalidInput

_LONGEST_CELL = 1 << 20
_ENCODING = "utf-8-sig"


@dataclass(frozen=True)
class CsvSource(LineFile):
    """A CSV file in UTF-8 whose first line names the columns."""

    file: File
    kind: Kind
    delimiter: str = ","
    typed: bool = False
    header_lines: ClassVar[int] = 1

    def batches(self, size: int, skip: int = 0) -> Iterator[Batch]:
        """Batches of cells, all texts."""
        csv.field_size_limit(_LONGEST_CELL)
        with self.file.text(_ENCODING) as stream:
            lines = Lines(stream, self.name)
            rows = _numbered_rows(lines, self.delimiter)
            yield from batches(rows, self._header(rows), size, skip, lines)

    def _header(self, rows: Iterator[NumberedRow]) -> list[str]:
        _, header = next(rows, (0, "is empty"))
        if isinstance(header, str):
            raise InvalidInput(f"{self.name} has no header: {header}.")
        if len(header) > MOST_COLUMNS:
            raise InvalidInput(f"The header of {self.name} names more than {MOST_COLUMNS} columns.")
        if len(set(header)) != len(header):
            raise InvalidInput(f"The header of {self.name} names a column twice.")
        return header


def _numbered_rows(lines: Lines[str], delimiter: str) -> Iterator[NumberedRow]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.row = 0
        line = reader.line_num + 1  # a row may span several lines; its first one counts
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"is not CSV: {error}"
            continue
        if cells:
            yield line, cells
