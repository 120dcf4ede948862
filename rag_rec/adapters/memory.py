"""Adapters that are gone from the disk and that a running service still has in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rag_rec.adapters.folder import AdapterStore
from rag_rec.presence.awaited import adapters_elsewhere
from rag_rec.presence.replicas import is_running
from rag_rec.store.protocol import Store

POLL_SECONDS: Final = 0.02


def lingering(store: Store, compact: AdapterStore, place: str | None = None) -> set[str]:
    """Digests of the adapters that running services have in memory and that are on no disk any more.

    It is unknown whom such an adapter saw. Only its digest is left.
    """
    services = [replica for replica in store.replicas() if is_running(replica)]
    held = {adapter for service in services for adapter in service.adapters}
    missing = held.difference(compact.adapter_digests())
    return missing - adapters_elsewhere(store, place) if missing else missing


def wait_for_release(
    store: Store,
    compact: AdapterStore,
    wait_ms: int,
    pause: Callable[[float], None] = time.sleep,
    place: str | None = None,
) -> None:
    """Give the running services some time to let go of adapters that are gone.

    Args:
        store: knows what the services have in memory.
        compact: the adapters on disk.
        wait_ms: milliseconds after which no process is waited for any more.
        pause: waits for so many seconds.
        place: the id of this folder, if it is a place.
    """
    attempts = int(wait_ms / 1000 / POLL_SECONDS)
    while attempts and lingering(store, compact, place):
        pause(POLL_SECONDS)
        attempts -= 1
