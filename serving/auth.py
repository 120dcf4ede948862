"""API keys and the roles that they carry."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Self

from pydantic import SecretStr
from starlette.requests import Request

from rag_rec.errors import Forbidden, InvalidInput, Unauthorized
from rag_rec.forgetting.audit.actor import Actor, ActorKind

LEAST_CHARACTERS: Final = 16
EXAMPLE: Final = "change-me"
FINGERPRINT: Final = 16
"""Hexadecimal digits of a fingerprint."""


class Role(StrEnum):
    """What a key may do. ``admin`` may do everything."""

    RECOMMEND = "recommend"
    INGEST = "ingest"
    PRIVACY = "privacy"
    METRICS = "metrics"
    ADMIN = "admin"


class Keyring:
    """Knows the keys by their SHA-256 digests only."""

    def __init__(self, keys: Mapping[str, frozenset[Role]]) -> None:
        self._roles = {hashlib.sha256(key.encode()).digest(): roles for key, roles in keys.items()}

    @classmethod
    def from_settings(cls, keys: Mapping[SecretStr, Sequence[str]]) -> Self:
        """The keys of the settings.

        Raises:
            InvalidInput: there is no key, or one is empty, or has no role or an unknown one.
        """
        if not keys:
            raise InvalidInput(
                "No API key is configured, so no one could call the service: set RAGREC_API_KEYS to JSON such as "
                '{"KEY": ["recommend", "ingest"]}, where KEY is what `openssl rand -hex 24` prints; or set '
                "RAGREC_API_KEYS_FILE, and run `rag-rec key new`."
            )
        return cls({_key(key): _roles(names) for key, names in keys.items()})

    def authorise(self, request: Request, role: Role | None) -> Actor:
        """Let the request pass if its key has ``role``, or any role if that is None. Returns whose request it is.

        Raises:
            Unauthorized: no key, or an unknown one.
            Forbidden: the key lacks the role.
        """
        key = _presented(request)
        roles = self._lookup(key)
        if roles is None:
            raise Unauthorized("Send a valid API key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'.")
        if role is not None and role not in roles and Role.ADMIN not in roles:
            raise Forbidden(f"This call needs a key with the role '{role}'.")
        used = role if role in roles else Role.ADMIN if Role.ADMIN in roles else None
        return Actor(ActorKind.KEY, fingerprint(key), used and used.value)

    def described(self) -> list[tuple[str, list[str]]]:
        """Fingerprint and roles of every key."""
        return [(digest.hex()[:FINGERPRINT], sorted(roles)) for digest, roles in self._roles.items()]

    def _lookup(self, key: bytes) -> frozenset[Role] | None:
        digest = hashlib.sha256(key).digest()
        found = None
        # Every key is compared, in constant time, so that timing says nothing about which one is close.
        for known, roles in self._roles.items():
            if hmac.compare_digest(known, digest):
                found = roles
        return found


def fingerprint(key: bytes) -> str:
    """Tells keys apart without giving them away: the start of the SHA-256."""
    return hashlib.sha256(key).hexdigest()[:FINGERPRINT]


def _presented(request: Request) -> bytes:
    """The key in the request's headers; latin-1 turns the header back into the bytes that were sent."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode("latin-1")
    return request.headers.get("x-api-key", "").strip().encode("latin-1")


def _key(secret: SecretStr) -> str:
    key = secret.get_secret_value()
    if not key or key != key.strip() or not key.isprintable():
        raise InvalidInput("An API key in RAGREC_API_KEYS is empty, or has spaces around it or control characters.")
    if len(key) < LEAST_CHARACTERS or EXAMPLE in key.lower():
        raise InvalidInput(
            f"An API key in RAGREC_API_KEYS can be guessed: it has fewer than {LEAST_CHARACTERS} characters, or is an "
            "example. `rag-rec key new` makes a random one, and so does `openssl rand -hex 24`."
        )
    return key


def _roles(names: Sequence[str]) -> frozenset[Role]:
    known = {role.value for role in Role}
    if not names or not known.issuperset(names):
        raise InvalidInput(
            f"Every API key in RAGREC_API_KEYS needs one or more of the roles {', '.join(sorted(known))}."
        )
    return frozenset(Role(name) for name in names)
