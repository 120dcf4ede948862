"""Which places a removal has to wait for, and which adapters they hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from rag_rec.clock import now_ms
from rag_rec.store.protocol import Store
from rag_rec.store.records import Place

EXPIRY_MS: Final = 15_000
"""A place of which nothing was heard for so long has no process that runs."""

POLL_SECONDS: Final = 0.02
NAMED: Final = 5
"""So many places are named in a sentence."""


def awaited(places: Collection[Place], epoch: int, own: str | None) -> list[Place]:
    """The places in use, other than ``own``, whose files have not been looked at up to an erasure epoch."""
    return [place for place in places if place.retired is None and place.id != own and place.epoch < epoch]


def unseen(places: Collection[Place], epoch: int, since: int) -> list[Place]:
    """The places that were taken out of use at or after a time before their files were looked at up to an epoch."""
    return [place for place in places if place.retired is not None and place.retired >= since and place.epoch < epoch]


def is_open(place: Place) -> bool:
    """Whether some process has the place open, as far as can be told from here."""
    return place.retired is None and place.seen >= now_ms() - EXPIRY_MS


def wait_for_open(
    store: Store, epoch: int, own: str | None, wait_ms: int, pause: Callable[[float], None] = time.sleep
) -> None:
    """Give the other places that some process has open the time to clean themselves. Those that are not open are not
    waited for: the request stays open until they are back."""
    attempts = int(wait_ms / 1000 / POLL_SECONDS)
    while attempts and any(map(is_open, awaited(store.places(), epoch, own))):
        pause(POLL_SECONDS)
        attempts -= 1


def adapters_elsewhere(store: Store, own: str | None) -> set[str]:
    """Digests of the adapters that other places in use hold."""
    return {name for place in store.places() if place.retired is None and place.id != own for name in place.adapters}


def named(places: Sequence[Place]) -> str:
    """The places by host and folder, for a sentence."""
    more = len(places) - NAMED
    return ", ".join(place.name for place in places[:NAMED]) + (f" and {more} more" if more > 0 else "")
