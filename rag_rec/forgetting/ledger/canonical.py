"""Canonical JSON (RFC 8785): equal values are equal bytes, so that what was signed can be checked byte for byte."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import orjson
import rfc8785

LARGEST: Final = 2**53 - 1
"""The largest whole number that every reader of JSON reads exactly."""


def dumps(value: Any) -> str:
    """Canonical JSON of plain values. A number that JSON cannot carry exactly (NaN, infinity, beyond :data:`LARGEST`)
    stands as text.

    Raises:
        ValueError: something in it is not a JSON value.
    """
    return rfc8785.dumps(_tamed(value)).decode()


def loads(text: str) -> Any:
    """The value of canonical JSON.

    Raises:
        ValueError: the text is not JSON, or not in its canonical form.
    """
    value = orjson.loads(text)
    try:
        same = dumps(value) == text
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not same:
        raise ValueError("it is not in canonical form")
    return value


def _tamed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _tamed(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_tamed(part) for part in value]
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) <= LARGEST):
        return str(value)
    return value
