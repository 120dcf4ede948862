"""Files with one JSON object on each line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from indexer.sources.batch import Batch, Kind, Reject
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
            lines = ((at, line) for at, line in enumerate(stream, 1) if line.strip())
            position = sum(1 for _ in islice(lines, skip))
            while taken := [(at, _parse(line)) for at, line in islice(lines, size)]:
                position += len(taken)
                yield _batch(taken, position)


def _parse(line: bytes) -> dict[str, Any] | str:
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "is not JSON"
    return parsed if isinstance(parsed, dict) else "is not a JSON object"


def _batch(taken: list[_Parsed], position: int) -> Batch:
    good = [(line, row) for line, row in taken if isinstance(row, dict)]
    rejects = [Reject(line, problem) for line, problem in taken if isinstance(problem, str)]
    names = dict.fromkeys(name for _, row in good for name in row)
    columns = {name: [row.get(name) for _, row in good] for name in names}
    return Batch(position, [line for line, _ in good], columns, rejects)
