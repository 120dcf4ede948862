"""Attributes as text in one canonical form, so that equal attributes are equal texts."""

from __future__ import annotations

import orjson

from rag_rec.domain import Attributes, AttributeValue


def encode_attributes(attributes: Attributes) -> str:
    """JSON with sorted names."""
    return orjson.dumps(dict(attributes), option=orjson.OPT_SORT_KEYS).decode()


def decode_attributes(text: str) -> dict[str, AttributeValue]:
    """The attributes of :func:`encode_attributes`; lists come back as tuples."""
    decoded: dict[str, AttributeValue] = orjson.loads(text)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in decoded.items()}
