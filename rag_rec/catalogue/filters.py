r"""Attribute expressions: which items a caller wants, such as ``genres = "Comedy" and year >= 1990``.

=====================================  ===============================================================================
``field = value``, ``field != value``  equal or not; a list of strings equals a string that it contains
``field < value`` (``<= > >=``)        numbers by size, strings by code points
``field in (value, value)``            equal to one of the values
``field contains "text"``              a list has this entry; a string has this part, whatever the case of its letters
``exists field``                       the item has the attribute
``and``, ``or``, ``not``, ``( )``      in this order of binding: ``not`` first, then ``and``, then ``or``
=====================================  ===============================================================================

Values are strings in double or single quotes (escapes ``\" \' \\ \n \r \t \uXXXX``), numbers, ``true`` and ``false``. A
field name that is not a plain word goes in backticks. Three fields belong to every item and hide attributes of the same
name: ``id`` (``= != in``), ``provider`` (as any string), and ``text`` (``contains`` only). A comparison with an
attribute that an item does not have, or has as another kind of value, is false, ``!=`` included; so ``not year = 1990``
is true for an item without a year and ``year != 1990`` is not.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from pathlib import Path
from typing import cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from rag_rec.catalogue.columns import Mask, Scalar
from rag_rec.catalogue.conditions import Comparison, Condition, Existence, Junction, Negation
from rag_rec.catalogue.table import Catalogue
from rag_rec.errors import InvalidInput

MAX_CHARACTERS = 4000
MAX_DEPTH = 32
COMPILED_FILTERS = 128
"""How many filters are kept compiled, each with its newest mask (one byte per item)."""

ESCAPES = {'"': '"', "'": "'", "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
WORDS = {
    "NAME": "a field name",
    "QUOTED_NAME": "a field name",
    "STRING": "a string in quotes",
    "NUMBER": "a number",
    "TRUE": "true",
    "FALSE": "false",
    "OPERATOR": "= != < <= > >=",
    "_OPEN": "(",
    "_CLOSE": ")",
    "_COMMA": ",",
    "$END": "the end",
}


class Filter:
    """A compiled expression. Made by :func:`compile_filter`, safe to share between threads."""

    def __init__(self, expression: str, condition: Condition) -> None:
        self.expression = expression
        self._condition = condition
        self._newest: tuple[int, Mask] | None = None

    def mask(self, catalogue: Catalogue) -> Mask:
        """Which items the expression holds for, bool [n], read-only; kept until the catalogue changes.

        Raises ``InvalidInput`` for a field that no item has and for a comparison that a field's values do not allow.
        """
        newest, version = self._newest, catalogue.version
        if newest is not None and newest[0] == version:
            return newest[1]
        mask = self._condition.mask(catalogue, len(catalogue))
        mask.setflags(write=False)
        self._newest = (version, mask)
        return mask


@lru_cache(maxsize=COMPILED_FILTERS)
def compile_filter(expression: str) -> Filter:
    """Parse an expression. Raises ``InvalidInput`` with the position of the fault and what was expected there."""
    if len(expression) > MAX_CHARACTERS:
        raise InvalidInput(
            f"A filter may have {MAX_CHARACTERS} characters, this one has {len(expression)}: shorten it."
        )
    try:
        condition = cast(Condition, _PARSER.parse(expression))
    except UnexpectedInput as error:
        raise InvalidInput(_explain(error, expression)) from None
    except VisitError as error:
        raise error.orig_exc from None
    if condition.depth > MAX_DEPTH:
        raise InvalidInput(f"A filter may be nested {MAX_DEPTH} deep, this one is {condition.depth}: simplify it.")
    return Filter(expression, condition)


class _Conditions(Transformer[Token, Condition]):
    """Builds conditions bottom-up while the expression is parsed, without recursion."""

    def disjunction(self, parts: list[Condition]) -> Condition:
        return Junction(tuple(parts), every=False, depth=1 + max(part.depth for part in parts))

    def conjunction(self, parts: list[Condition]) -> Condition:
        return Junction(tuple(parts), every=True, depth=1 + max(part.depth for part in parts))

    def negation(self, parts: list[Condition]) -> Condition:
        return Negation(parts[0], depth=1 + parts[0].depth)

    def exists(self, children: list[str]) -> Condition:
        return Existence(children[0])

    def comparison(self, children: list[str]) -> Condition:
        field, operation, value = children
        return Comparison(field, str(operation), (value,))

    def contains(self, children: list[str]) -> Condition:
        field, value = children
        return Comparison(field, "contains", (value,))

    def membership(self, children: list[str]) -> Condition:
        field, *values = children
        return Comparison(field, "=", tuple(values))

    def field(self, tokens: list[Token]) -> str:
        return str(tokens[0]).strip("`")

    def value(self, tokens: list[Token]) -> Scalar:
        token = tokens[0]
        if token.type == "STRING":
            return _unquote(token)
        return _number(token) if token.type == "NUMBER" else token.type == "TRUE"


def _number(token: Token) -> float:
    number = float(token)
    if math.isinf(number):
        raise InvalidInput(f"The number at character {_position(token)} of the filter is too large: use a smaller one.")
    return number


def _unquote(token: Token) -> str:
    def character(escape: re.Match[str]) -> str:
        if escape[1]:
            return chr(int(escape[1], 16))
        if escape[2] not in ESCAPES:
            raise InvalidInput(
                f"The string at character {_position(token)} of the filter has an unknown escape \\{escape[2]}: "
                r"use \" \' \\ \n \r \t or \uXXXX."
            )
        return ESCAPES[escape[2]]

    return ESCAPE.sub(character, token[1:-1])


def _position(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _explain(error: UnexpectedInput, expression: str) -> str:
    """Where the expression went wrong, and what could stand there."""
    position = _fault(error, expression)
    place = "the end" if position == len(expression) else f"character {position + 1}"
    if isinstance(error, UnexpectedCharacters) and expression[position] in "\"'`":
        return f"The quote at {place} of the filter is not closed: add the closing quote."
    readable = _PARSER.parse_interactive(expression[:position])
    readable.exhaust_lexer()
    accepted: set[str] = readable.accepts()  # type: ignore[no-untyped-call]
    wanted = sorted({WORDS.get(name, name.strip("_").lower()) for name in accepted})
    return f"The filter cannot be read at {place}: expected {', '.join(wanted)}."


def _fault(error: UnexpectedInput, expression: str) -> int:
    """Offset of the first character that cannot be read, or the length where the end came too soon."""
    if isinstance(error, UnexpectedCharacters):
        return cast(int, error.pos_in_stream)
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        return _position(error.token) - 1
    return len(expression)


_PARSER = Lark(
    Path(__file__).with_name("filters.lark").read_text("utf-8"), parser="lalr", transformer=_Conditions(), start="start"
)
