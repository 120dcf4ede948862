"""Who is held out of a training, so that something is left to measure on, and who is learned with whom."""

from __future__ import annotations

import hashlib


def is_held_out(user_id: str, share: float, seed: int, purpose: str = "") -> bool:
    """Whether a user belongs to the seeded sample of this share, which does not depend on who else there is.

    It goes by a hash of the caller's id: user numbers are others in a system that never knew a person. A smaller share
    is a part of a larger one. Samples for different purposes have nothing to do with each other.
    """
    return _hash(user_id, seed, purpose) < share * 2.0**64


def place_of(user_id: str, places: int, seed: int, purpose: str) -> int:
    """At which of so many places a user is, from 0; like :func:`is_held_out`, it does not depend on others."""
    return _hash(user_id, seed, purpose) % places


def _hash(user_id: str, seed: int, purpose: str) -> int:
    digest = hashlib.blake2b(f"{purpose}{seed}:{user_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest)
