"""Files with one JSON object on each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from indexer.sources.batch import Batch, Kind, Reject
from indexer.sources.bounds import MOST_CELLS, MOST_COLUMNS, Lines
from indexer.sources.files import File, LineFile, readable

_Parsed = tuple[int, dict[str, Any] | str]


@dataclass(frozen=True)
class JsonlSource(LineFile):
    """A file of JSON objects; those of one batch may have different names."""

    file: File
    kind: Kind
    typed: bool = True

    def batches(self, size: int, skip: int = 0) -> Iterator[Batch]:
        """Batches of cells as JSON has them."""
        with readable(self.name), self.file.open() as stream:
            lines = Lines(stream, self.name)
            written = _written(lines)
            position = sum(1 for _ in islice(written, skip))
            for taken in _groups(written, size, lines):
                position += len(taken)
                yield _batch(taken, position)


def _written(lines: Lines[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by number."""
    for at, line in enumerate(lines, 1):
        lines.row = 0
        if line.strip():
            yield at, line


def _groups(written: Iterator[tuple[int, bytes]], size: int, lines: Lines[bytes]) -> Iterator[list[_Parsed]]:
    """Rows in groups of at most ``size``, of fewer where they are long or each has other names."""
    group: list[_Parsed] = []
    names: set[str] = set()
    lines.batch = 0
    for at, line in written:
        row = _parse(line)
        new = set() if isinstance(row, str) else row.keys() - names
        if group and (len(group) == size or lines.enough or (len(group) + 1) * len(names | new) > MOST_CELLS):
            yield group
            group, names, lines.batch = [], set(), len(line)
            new = set() if isinstance(row, str) else set(row)
        group.append((at, row))
        names |= new
    if group:
        yield group


def _parse(line: bytes) -> dict[str, Any] | str:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "is not JSON"
    if not isinstance(parsed, dict):
        return "is not a JSON object"
    return parsed if len(parsed) <= MOST_COLUMNS else f"has more than {MOST_COLUMNS} names"


def _batch(taken: list[_Parsed], position: int) -> Batch:
    good = [(line, row) for line, row in taken if isinstance(row, dict)]
    rejects = [Reject(line, problem) for line, problem in taken if isinstance(problem, str)]
    names = dict.fromkeys(name for _, row in good for name in row)
    columns = {name: [row.get(name) for _, row in good] for name in names}
    return Batch(position, [line for line, _ in good], columns, rejects)
