"""Collects rows into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from indexer.sources.batch import Batch, Reject
from indexer.sources.bounds import Lines
from indexer.sources.files import is_unicode

NumberedRow = tuple[int, list[str] | str]
"""A row's line and its cells, or its line and what is wrong with it."""


def batches(
    rows: Iterable[NumberedRow], columns: Sequence[str], size: int, skip: int, lines: Lines[str]
) -> Iterator[Batch]:
    """Batches of rows that must have one cell for each column. ``lines`` are those that the rows are read from."""
    remaining = iter(rows)
    position = sum(1 for _ in islice(remaining, skip))
    while taken := _taken(remaining, size, lines):
        position += len(taken)
        yield _batch(taken, columns, position)


def _taken(rows: Iterator[NumberedRow], size: int, lines: Lines[str]) -> list[NumberedRow]:
    """The next rows: at most ``size``, fewer where they are long."""
    taken, lines.batch = [], 0
    for row in rows:
        taken.append(row)
        if len(taken) == size or lines.enough:
            break
    return taken


def _batch(taken: Sequence[NumberedRow], columns: Sequence[str], position: int) -> Batch:
    rejects = _misshapen(taken, len(columns))
    good = _without(taken, rejects)
    cells = _by_column(good, columns)
    if not all(is_unicode(column) for column in cells.values()):
        broken = [Reject(line, "is not valid UTF-8") for line, row in good if not is_unicode(list(row))]
        good = _without(good, broken)
        cells = _by_column(good, columns)
        rejects = sorted([*rejects, *broken], key=lambda reject: reject.line)
    return Batch(position, [line for line, _ in good], cells, rejects)


def _misshapen(taken: Sequence[NumberedRow], width: int) -> list[Reject]:
    return [
        Reject(line, row if isinstance(row, str) else f"has {len(row)} columns instead of {width}")
        for line, row in taken
        if len(row) != width or isinstance(row, str)
    ]


def _without(rows: Sequence[NumberedRow], rejects: Sequence[Reject]) -> Sequence[NumberedRow]:
    if not rejects:
        return rows
    lines = {reject.line for reject in rejects}
    return [row for row in rows if row[0] not in lines]


def _by_column(rows: Sequence[NumberedRow], columns: Sequence[str]) -> dict[str, list[Any]]:
    cells = zip(*(row for _, row in rows), strict=True) if rows else ([] for _ in columns)
    return {name: list(column) for name, column in zip(columns, cells, strict=True)}
