"""What a process still refers to of people after a removal, though nothing asks for it any more.

Objects in reference cycles wait for the garbage collector, whose full runs are rare. A connection to the store keeps
pages, and the values that its statements were asked with last. Both are let go of here. What is freed then is
overwritten where the allocator does that (``RAGREC_OVERWRITE_FREED``).
"""

from __future__ import annotations

import gc

from rag_rec.store.protocol import Store


def settle_in() -> None:
    """To be called once all that stays is loaded: later collections do not look at it again, and take little time."""
    gc.collect()
    gc.freeze()


def let_go(store: Store) -> None:
    """Free what nothing needs."""
    store.renew_connections()
    gc.collect()


class Remnants:
    """Lets go once after every removal, as soon as the store has been scrubbed, too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._erasure = store.erasure_epoch()

    def let_go_of_removed(self) -> None:
        """Let go if something was removed since the last time. Costs a query where nothing was."""
        erasure = self._store.erasure_epoch()
        if erasure != self._erasure and not self._store.scrub_pending():
            let_go(self._store)
            self._erasure = erasure
