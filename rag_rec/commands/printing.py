"""How the command line prints a result in words. Nothing is ever cut: what does not fit is printed below itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import typer

INDENT: Final = "  "
GAP: Final = "  "


class Answer(dict[str, Any]):
    """A command's result that is said otherwise to people than to programs.

    Args:
        content: what ``--json`` prints.
        words: what is printed without it.
    """

    def __init__(self, content: Mapping[str, Any], words: Mapping[str, Any]) -> None:
        super().__init__(content)
        self.words = words


def in_words(result: Mapping[str, Any]) -> str:
    """A result as lines for people; names are bold where the output is a terminal.

    Rows of a table stand below each other where they fit the width of the terminal; else each row is a block.
    """
    words = result.words if isinstance(result, Answer) else result
    return "".join(f"{line}\n" for name, value in words.items() for line in _lines(name, value))


def said(value: Any) -> str:
    """One value on one line: None is ``-``, yes and no, "users 1, interactions 6" for a mapping."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said(each)}" for name, each in value.items()) or "none"
    if _is_series(value):
        return ", ".join(map(said, value)) or "none"
    return str(value)


def _lines(name: str, value: Any) -> Iterator[str]:
    title = typer.style(f"{name}:", bold=True)
    if not _is_series(value) or not value:
        yield f"{title} {said(value)}"
    elif isinstance(value[0], Mapping):
        yield title
        yield from (f"{INDENT}{line}".rstrip() for line in _rows(value))
    elif len(value) == 1:
        yield f"{title} {said(value[0])}"
    else:
        yield title
        yield from (f"{INDENT}{said(each)}" for each in value)


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = [name for name in rows[0] if any(row.get(name) is not None for row in rows)]
    cells = [columns, *([said(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    if len(INDENT) + sum(widths) + len(GAP) * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        return [GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    blocks = ([f"{name}: {cell}" for name, cell in zip(columns, row, strict=True)] for row in cells[1:])
    return [line for block in blocks for line in (*block, "")][:-1]


def _is_series(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
