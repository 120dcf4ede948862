"""Who acts: a key of the HTTP interface, or a user of the operating system."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final


class ActorKind(StrEnum):
    """What an actor is known by."""

    KEY = "key"
    OS_USER = "os-user"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts.

    Attributes:
        kind: what ``name`` is.
        name: the fingerprint of an API key, never the key; or the name of a user of the operating system.
        role: by which the key may do it; None for a user of the operating system.
    """

    kind: ActorKind
    name: str
    role: str | None = None

    def document(self) -> dict[str, Any]:
        """As it stands in the ledger."""
        return {"kind": self.kind.value, "name": self.name, "role": self.role}


_ACTING: Final[ContextVar[Actor | None]] = ContextVar("acting", default=None)


@contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Everything that is done in this context is done by ``actor``."""
    token = _ACTING.set(actor)
    try:
        yield
    finally:
        _ACTING.reset(token)


def current_actor() -> Actor:
    """Who acts here; outside of :func:`acting`, as on the command line, the user of the operating system."""
    return _ACTING.get() or Actor(ActorKind.OS_USER, _user_name())


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return f"uid {os.getuid()}"
