"""How much a JSON text holds, before it is parsed: a text of 4 MiB can hold two million values, and each costs memory
and validation. The scan makes a fixed number of passes over the bytes and builds no value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from serving.errors import BodyTooLarge, MalformedRequest
from serving.limits import KIB

MAX_DEPTH: Final = 32
MAX_DIGITS: Final = 400
"""Longest number: the largest double, written out, has 309 digits."""

_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_DIGITS: Final = bytes.maketrans(b"123456789.eE+-", b"0" * 14)
_LONG_NUMBER: Final = b"0" * (MAX_DIGITS + 1)
_OPENING: Final = frozenset(b"[{")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the body of one kind of request may hold.

    Attributes:
        size: bytes.
        values: lists, objects and their members, counted as opening brackets and commas.
    """

    size: int = 64 * KIB
    values: int = 64


SMALL: Final = Bounds()


def check_structure(body: bytes, bounds: Bounds) -> None:
    """Refuse a JSON text that would be costly to parse or validate. What is no JSON is left to the parser.

    Raises:
        BodyTooLarge: it holds too many values, or too long a number.
        MalformedRequest: it is nested too deep.
    """
    outside = _outside_strings(body, bounds)
    if outside.count(b",") + outside.count(b"[") + outside.count(b"{") > bounds.values:
        _check_depth(outside.translate(None, _NO_BRACKETS)[: bounds.values])
        raise _too_many(bounds)
    _check_depth(outside.translate(None, _NO_BRACKETS))
    if _LONG_NUMBER in outside.translate(_DIGITS):
        raise BodyTooLarge(f"A number in the body has more than {MAX_DIGITS} digits.")


def _outside_strings(body: bytes, bounds: Bounds) -> bytes:
    """The text without its strings. An escaped quote ends none: pairs of backslashes go first, then escaped quotes."""
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    if plain.count(b'"') > 4 * bounds.values + 4:  # a value has two, and so has its name
        raise _too_many(bounds)
    return b"".join(plain.split(b'"')[::2])


def _check_depth(brackets: bytes) -> None:
    depth = 0
    for bracket in brackets:
        depth += 1 if bracket in _OPENING else -1
        if depth > MAX_DEPTH:
            raise MalformedRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _too_many(bounds: Bounds) -> BodyTooLarge:
    return BodyTooLarge(f"The body holds more than {bounds.values} values; send it in parts.")
