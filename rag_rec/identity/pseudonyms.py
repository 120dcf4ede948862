"""Keyed one-way names: how people are named where their ids may not stand (ledger, receipts, suppression list).

A pseudonym is an HMAC-SHA256. Without the key it cannot be traced to a person, not even by trying every id; with it,
only whether a given id is meant. The key never changes: people whose ids are gone could not be named anew.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import rfc8785

from rag_rec.domain import Interaction

KEY_BYTES: Final = 32


class Pseudonyms:
    """Names people, interactions and plans under one key of :data:`KEY_BYTES` bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a pseudonym key has {KEY_BYTES} bytes")
        self._key = key

    @property
    def key_id(self) -> str:
        """Tells keys apart without giving them away."""
        return self._name("key", "")[:16]

    def user(self, user_id: str) -> str:
        """The pseudonym of a person, 64 hexadecimal digits."""
        return self._name("user", user_id)

    def interaction(self, row: Interaction) -> str:
        """The pseudonym of an interaction: of the four values that identify it."""
        return self.content("interaction", {"key": [row.user_id, row.item_id, row.event, str(row.time)]})

    def content(self, kind: str, content: Mapping[str, Any]) -> str:
        """The pseudonym of anything that can be written as canonical JSON (RFC 8785)."""
        return self._name(kind, rfc8785.dumps(dict(content)).decode())

    def _name(self, kind: str, text: str) -> str:
        return hmac.new(self._key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()
