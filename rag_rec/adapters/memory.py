"""Adapters that are gone from the disk and that a running service still has in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rag_rec.compact.folder import CompactStore
from rag_rec.forgetting.replicas import is_running
from rag_rec.store.protocol import Store

POLL_SECONDS: Final = 0.02


def lingering(store: Store, compact: CompactStore) -> set[str]:
    """Digests of the adapters that running services have in memory and that are not on disk any more.

    Nobody can tell any more whom such an adapter saw. Only its digest is left.
    """
    services = [replica for replica in store.replicas() if is_running(replica)]
    held = {adapter for service in services for adapter in service.adapters}
    return held.difference(compact.adapter_digests())


def wait_for_release(
    store: Store, compact: CompactStore, wait_ms: int, pause: Callable[[float], None] = time.sleep
) -> None:
    """Give the running services some time to let go of adapters that are gone.

    Args:
        store: knows what the services have in memory.
        compact: the adapters on disk.
        wait_ms: milliseconds after which nobody is waited for any more.
        pause: waits for so many seconds.
    """
    attempts = int(wait_ms / 1000 / POLL_SECONDS)
    while attempts and lingering(store, compact):
        pause(POLL_SECONDS)
        attempts -= 1
