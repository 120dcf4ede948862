"""The parts of an attribute expression, and which items each holds for.

:mod:`rag_rec.catalogue.filters` says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from rag_rec.catalogue.columns import Column, Kind, Mask, Scalar
from rag_rec.catalogue.table import Catalogue
from rag_rec.errors import InvalidInput

ID, PROVIDER, TEXT = "id", "provider", "text"
RESERVED = (ID, PROVIDER, TEXT)
NAMED_FIELDS = 50
"""How many fields an error names at most."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A field compared with one value, or by ``=`` with several of which one has to match."""

    field: str
    operation: str
    values: tuple[Scalar, ...]
    depth: int = 1

    def mask(self, catalogue: Catalogue, rows: int) -> Mask:
        """Which of the first ``rows`` items it holds for."""
        match = _matcher(self.field, catalogue, rows)
        return _any([match(self.operation, value) for value in self.values])


@dataclass(frozen=True, slots=True)
class Existence:
    """Whether an item has a field."""

    field: str
    depth: int = 1

    def mask(self, catalogue: Catalogue, rows: int) -> Mask:
        """Which of the first ``rows`` items it holds for."""
        if self.field in (ID, TEXT):
            return np.ones(rows, dtype=np.bool_)
        columns = _columns(self.field, catalogue)
        return _any([column.present(rows) for column in columns.values()])


@dataclass(frozen=True, slots=True)
class Negation:
    """The opposite of a condition."""

    part: Condition
    depth: int

    def mask(self, catalogue: Catalogue, rows: int) -> Mask:
        """Which of the first ``rows`` items it holds for."""
        return ~self.part.mask(catalogue, rows)


@dataclass(frozen=True, slots=True)
class Junction:
    """Several conditions of which all have to hold, or any. All are evaluated, so that none can hide a mistake."""

    parts: tuple[Condition, ...]
    every: bool
    depth: int

    def mask(self, catalogue: Catalogue, rows: int) -> Mask:
        """Which of the first ``rows`` items it holds for."""
        masks = [part.mask(catalogue, rows) for part in self.parts]
        return np.asarray(np.logical_and.reduce(masks)) if self.every else _any(masks)


Condition = Comparison | Existence | Negation | Junction
Match = Callable[[str, Scalar], Mask]


def _matcher(field: str, catalogue: Catalogue, rows: int) -> Match:
    """What compares this field's values with a literal."""
    if field == ID:
        return lambda operation, value: _match_id(catalogue, operation, value, rows)
    if field == TEXT:
        return lambda operation, value: _match_text(catalogue, operation, value, rows)
    columns = _columns(field, catalogue)
    return lambda operation, value: _match_columns(field, columns, operation, value, rows)


def _match_columns(field: str, columns: dict[Kind, Column], operation: str, value: Scalar, rows: int) -> Mask:
    fitting = [column for kind, column in columns.items() if kind in _comparable(operation, value)]
    if not fitting:
        _refuse(field, " and ".join(columns), operation, value)
    return _any([column.compare(operation, value, rows) for column in fitting])


def _match_id(catalogue: Catalogue, operation: str, value: Scalar, rows: int) -> Mask:
    if operation not in ("=", "!=") or not isinstance(value, str):
        _refuse(ID, "item id (use = != in)", operation, value)
    mask = np.zeros(rows, dtype=np.bool_)
    number = catalogue.number_of(value)
    if number is not None and number < rows:
        mask[number] = True
    return mask if operation == "=" else ~mask


def _match_text(catalogue: Catalogue, operation: str, value: Scalar, rows: int) -> Mask:
    if operation != "contains" or not isinstance(value, str):
        _refuse(TEXT, "text (use contains)", operation, value)
    return catalogue.with_text(value.casefold(), rows)


def _columns(field: str, catalogue: Catalogue) -> dict[Kind, Column]:
    if field == PROVIDER:
        return {Kind.STRING: catalogue.providers}
    columns = catalogue.attributes.kinds(field)
    if not columns:
        known = sorted({*RESERVED, *catalogue.attributes.fields()})
        more = ", ..." if len(known) > NAMED_FIELDS else ""
        raise InvalidInput(f"No item has a field {field!r}. Known fields: {', '.join(known[:NAMED_FIELDS])}{more}.")
    return dict(columns)


def _any(masks: list[Mask]) -> Mask:
    return np.asarray(np.logical_or.reduce(masks))


def _comparable(operation: str, value: Scalar) -> set[Kind]:
    """Kinds of column that can be compared with this value in this way."""
    if isinstance(value, bool):
        return {Kind.BOOLEAN} if operation in ("=", "!=") else set()
    if isinstance(value, str):
        return {Kind.STRING, Kind.LIST} if operation in ("=", "!=", "contains") else {Kind.STRING}
    return {Kind.NUMBER} if operation != "contains" else set()


def _refuse(field: str, kinds: str, operation: str, value: Scalar) -> NoReturn:
    given = "true or false" if isinstance(value, bool) else "a string" if isinstance(value, str) else "a number"
    raise InvalidInput(f"The field {field!r} is of kind {kinds}: {operation!r} cannot compare it with {given}.")
