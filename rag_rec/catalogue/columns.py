"""Typed columns of item attributes: small in memory, cheap to change at one row, compared with a value all at once.

A field may hold values of several kinds, since nothing forbids one item to give its year as a number and another as a
text. Each kind is a column of its own, in which the rows of other kinds are missing.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rag_rec.domain import Attributes, AttributeValue
from rag_rec.errors import InvalidInput

Mask = npt.NDArray[np.bool_]
Scalar = str | float | bool

ORDER: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
EXACT_INTEGERS = 2**53
MISSING = -1


class Kind(StrEnum):
    """What a column holds."""

    NUMBER = "number"
    STRING = "string"
    LIST = "list of strings"
    BOOLEAN = "boolean"


def kind_of(value: AttributeValue) -> Kind:
    """The kind of an attribute's value. Raises ``InvalidInput`` for a type that is none, or a non-finite number."""
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, str):
        return Kind.STRING
    if isinstance(value, int | float) and -sys.float_info.max <= value <= sys.float_info.max:
        return Kind.NUMBER
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return Kind.LIST
    raise InvalidInput("An attribute has to be a string, a finite number, true, false or a list of strings.")


class Column(Protocol):
    """Values of one kind by row; rows beyond the last one set are missing."""

    def set(self, row: int, value: AttributeValue) -> None:
        """Give a row a value."""

    def clear(self, row: int) -> None:
        """Make a row's value missing."""

    def get(self, row: int) -> AttributeValue | None:
        """A row's value, None where it is missing."""

    def present(self, rows: int) -> Mask:
        """Which of the first ``rows`` rows have a value."""

    def compare(self, operation: str, value: Scalar, rows: int) -> Mask:
        """Which of the first ``rows`` rows have a value that stands in this relation to ``value``."""


class Vector:
    """A growing array whose rows beyond the last one set hold ``missing``."""

    def __init__(self, dtype: npt.DTypeLike, missing: float) -> None:
        self._missing = missing
        self._values = np.full(0, missing, dtype=dtype)

    def __getitem__(self, row: int) -> float:
        return self._values[row].item() if row < len(self._values) else self._missing

    def __setitem__(self, row: int, value: float) -> None:
        if row >= len(self._values):
            grown = np.full(max(row + 1, len(self._values) * 3 // 2, 16), self._missing, dtype=self._values.dtype)
            grown[: len(self._values)] = self._values
            self._values = grown
        self._values[row] = value

    def clear(self, row: int) -> None:
        """Make a row missing."""
        if row < len(self._values):
            self._values[row] = self._missing

    def first(self, rows: int) -> npt.NDArray[np.generic]:
        """The first ``rows`` rows, shape [rows]; not to be changed."""
        short = rows - len(self._values)
        return self._values[:rows] if short <= 0 else np.pad(self._values, (0, short), constant_values=self._missing)


class NumberColumn:
    """Numbers as float64, 8 bytes a row: integers are exact up to 2**53."""

    def __init__(self) -> None:
        self._values = Vector(np.float64, math.nan)

    def set(self, row: int, value: AttributeValue) -> None:
        """Give a row a value."""
        self._values[row] = float(value)  # type: ignore[arg-type]

    def clear(self, row: int) -> None:
        """Make a row's value missing."""
        self._values.clear(row)

    def get(self, row: int) -> AttributeValue | None:
        """A row's value, as an integer where it is one."""
        value = self._values[row]
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() and abs(value) <= EXACT_INTEGERS else value

    def present(self, rows: int) -> Mask:
        """Which of the first ``rows`` rows have a value."""
        return np.asarray(~np.isnan(self._values.first(rows)))

    def compare(self, operation: str, value: Scalar, rows: int) -> Mask:
        """Which of the first ``rows`` rows have a value that stands in this relation to ``value``."""
        values = self._values.first(rows)
        if operation == "!=":
            return np.asarray(self.present(rows) & (values != value))
        return np.asarray(values == value if operation == "=" else ORDER[operation](values, value))


class CodeColumn:
    """Strings, lists of strings or booleans as codes of the distinct values, 4 bytes a row.

    A comparison is made once for each distinct value. Values that no row has any more are kept until the catalogue is
    loaded again.
    """

    def __init__(self) -> None:
        self._codes = Vector(np.int32, MISSING)
        self._code: dict[AttributeValue, int] = {}
        self._distinct: list[AttributeValue] = []

    def set(self, row: int, value: AttributeValue) -> None:
        """Give a row a value."""
        code = self._code.setdefault(value, len(self._distinct))
        if code == len(self._distinct):
            self._distinct.append(value)
        self._codes[row] = code

    def clear(self, row: int) -> None:
        """Make a row's value missing."""
        self._codes.clear(row)

    def get(self, row: int) -> AttributeValue | None:
        """A row's value, None where it is missing."""
        code = int(self._codes[row])
        return None if code == MISSING else self._distinct[code]

    def present(self, rows: int) -> Mask:
        """Which of the first ``rows`` rows have a value."""
        return np.asarray(self._codes.first(rows) != MISSING)

    def compare(self, operation: str, value: Scalar, rows: int) -> Mask:
        """Which rows stand in this relation to ``value``: = != < <= > >= and ``contains``.

        A list equals a string if it contains it. A string contains another whatever the case of the letters.
        """
        return self._where(_predicate(operation, value), rows)

    def _where(self, holds: Callable[[AttributeValue], bool], rows: int) -> Mask:
        codes = self._codes.first(rows).copy()  # taken first: every code in it already has its distinct value
        hits = np.array([*map(holds, list(self._distinct)), False], dtype=np.bool_)  # the last answers for MISSING
        return np.asarray(hits[codes])


def _predicate(operation: str, value: Scalar) -> Callable[[AttributeValue], bool]:
    def equals(held: AttributeValue) -> bool:
        return value in held if isinstance(held, tuple) else held == value

    if operation == "=":
        return equals
    if operation == "!=":
        return lambda held: not equals(held)
    if operation == "contains":
        folded = str(value).casefold()
        return lambda held: value in held if isinstance(held, tuple) else folded in str(held).casefold()
    return lambda held: bool(ORDER[operation](held, value))


class AttributeTable:
    """The attributes of all items, a column for each field and kind."""

    def __init__(self) -> None:
        self._columns: dict[str, dict[Kind, Column]] = {}

    def fields(self) -> list[str]:
        """Names of all fields that an item has or had, sorted."""
        return sorted(self._columns)

    def kinds(self, field: str) -> Mapping[Kind, Column]:
        """The columns of a field; empty for a field that no item has."""
        return self._columns.get(field, {})

    def put(self, row: int, attributes: Attributes) -> None:
        """Replace a row. Raises ``InvalidInput`` before anything is changed."""
        kinds = {field: kind_of(value) for field, value in attributes.items()}
        for columns in self._columns.values():
            for column in columns.values():
                column.clear(row)
        for field, value in attributes.items():
            columns = self._columns.setdefault(sys.intern(field), {})
            if kinds[field] not in columns:
                columns[kinds[field]] = NumberColumn() if kinds[field] is Kind.NUMBER else CodeColumn()
            columns[kinds[field]].set(row, value)

    def row(self, row: int) -> dict[str, AttributeValue]:
        """A row's attributes, by field name."""
        found = {}
        for field in sorted(self._columns):
            for column in list(self._columns[field].values()):
                value = column.get(row)
                if value is not None:
                    found[field] = value
        return found
