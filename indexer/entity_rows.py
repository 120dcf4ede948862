"""Turns rows of a file into items and users: every column that holds no field becomes an attribute."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from indexer.mapping import ColumnMap
from indexer.sources.batch import Batch, Reject
from rag_rec.domain import AttributeValue, Item, User
from rag_rec.validation import Limits, item_problem, user_problem

Entity = TypeVar("Entity", Item, User)
LIST_SEPARATOR = "|"
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})\Z")
_DECIMAL = re.compile(r"-?\d+\.\d+([eE][-+]?\d+)?\Z")
_TRUTH = {"true": True, "false": False}


@dataclass
class AttributeTypes:
    """The type of each column of texts, found by looking at every cell before any is stored.

    A column whose cells are all whole numbers (without leading zeros) is int, all numbers float, all true or false
    bool; any other stays text. So a zip code is a text as soon as one of them needs it, and never half of them.
    """

    _candidates: dict[str, set[type]] = field(default_factory=dict)

    def observe(self, column: str, cells: Iterable[str]) -> None:
        """Narrow the type of a column down."""
        left = self._candidates.setdefault(column, {bool, int, float})
        for cell in cells:
            if not left:
                return
            if cell:
                left &= _types_of(cell)

    def convert(self, column: str, cell: str) -> AttributeValue:
        """A cell in the type of its column."""
        left = self._candidates.get(column, set())
        if bool in left:
            return _TRUTH[cell.lower()]
        if int in left:
            return int(cell)
        return float(cell) if float in left else cell


@dataclass(frozen=True)
class EntityRows(Generic[Entity]):
    """The rules by which rows become items or users."""

    columns: ColumnMap
    limits: Limits
    lists: frozenset[str]
    types: AttributeTypes | None
    build: Callable[[dict[str, Any], dict[str, AttributeValue]], Entity]
    problem: Callable[[Entity, Limits], str | None]

    def read(self, batch: Batch) -> tuple[list[Entity], list[Reject]]:
        """The rows that can be stored, and every row that cannot."""
        entities, rejects = [], list(batch.rejects)
        names = list(batch.columns)
        for line, cells in zip(batch.lines, zip(*batch.columns.values(), strict=True), strict=True):
            entity = self._entity(dict(zip(names, cells, strict=True)))
            problem = self.problem(entity, self.limits)
            if problem:
                rejects.append(Reject(line, problem))
            else:
                entities.append(entity)
        return entities, sorted(rejects, key=lambda reject: reject.line)

    def _entity(self, row: dict[str, Any]) -> Entity:
        fields = {name: _identifier(row.get(self.columns.column(name))) for name in self.columns.fields}
        attributes = {name: self._attribute(name, row[name]) for name in self.columns.attributes(row)}
        present = {name: value for name, value in attributes.items() if value is not None}
        return self.build(fields, present)

    def _attribute(self, name: str, cell: Any) -> Any:
        if cell is None or cell == "":
            return None
        if isinstance(cell, str) and name in self.lists:
            return tuple(part for part in cell.split(LIST_SEPARATOR) if part)
        if isinstance(cell, str) and self.types is not None:
            return self.types.convert(name, cell)
        if isinstance(cell, list):
            return tuple(cell)
        return cell.isoformat() if hasattr(cell, "isoformat") else cell


def item_rows(
    columns: ColumnMap, limits: Limits, lists: frozenset[str], types: AttributeTypes | None
) -> EntityRows[Item]:
    """Rows that are items. Where a row has no text, its title is the text."""

    def build(fields: dict[str, Any], attributes: dict[str, AttributeValue]) -> Item:
        text = fields["text"] or attributes.get("title", fields["text"])
        return Item(fields["item_id"], text, attributes, fields["provider"] or None)

    return EntityRows(columns, limits, lists, types, build, item_problem)


def user_rows(
    columns: ColumnMap, limits: Limits, lists: frozenset[str], types: AttributeTypes | None
) -> EntityRows[User]:
    """Rows that are users."""

    def build(fields: dict[str, Any], attributes: dict[str, AttributeValue]) -> User:
        return User(fields["user_id"], attributes)

    return EntityRows(columns, limits, lists, types, build, user_problem)


def observe(types: AttributeTypes, batch: Batch, columns: Sequence[str]) -> None:
    """Let the cells of a batch decide about the types of some columns."""
    for column in columns:
        types.observe(column, batch.columns[column])


def _types_of(cell: str) -> set[type]:
    if _WHOLE.match(cell):
        return {int, float}
    if _DECIMAL.match(cell):
        return {float}
    return {bool} if cell.lower() in _TRUTH else set()


def _identifier(cell: Any) -> Any:
    # Numeric identifiers are common; anything else that is not text is left for validation to refuse.
    return str(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell
