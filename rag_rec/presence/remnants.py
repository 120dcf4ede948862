"""What a process still refers to of people after a removal, though nothing asks for it any more.

Objects in reference cycles wait for the garbage collector, whose full runs are rare. A connection to the store keeps
pages, and the values that its statements were asked with last. Both are let go of here. What is freed then is
overwritten where the allocator does that (``RAGREC_OVERWRITE_FREED``).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final

from rag_rec.store.protocol import Store

QUIET_SECONDS: Final = 2.0
"""So long after the last removal, what is left is let go of. Statements have to be compiled anew afterwards, which
would cost each of many removals in a row more than the removal itself."""

MOST_SECONDS: Final = 60.0
"""Where removals never cease, it is let go of this often."""


def settle_in() -> None:
    """To be called once all that stays is loaded: later collections do not look at it again, and take little time."""
    gc.collect()
    gc.freeze()


def let_go(store: Store) -> None:
    """Free what nothing needs."""
    store.renew_connections()
    gc.collect()


class Remnants:
    """Lets go when removals have ceased for :data:`QUIET_SECONDS`, and the store has been scrubbed.

    Args:
        store: of the process.
        now: gives seconds that never go back.
    """

    def __init__(self, store: Store, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._now = now
        self._seen = store.erasure_epoch()
        self._since: float | None = None
        self._quiet_at = 0.0

    @property
    def waits(self) -> bool:
        """Whether something was removed that has not been let go of yet."""
        return self._since is not None

    def let_go_of_removed(self) -> None:
        """Let go if something was removed, and it is time to. Costs a query where nothing was."""
        erasure, now = self._store.erasure_epoch(), self._now()
        if erasure != self._seen:
            self._seen, self._quiet_at = erasure, now + QUIET_SECONDS
            self._since = now if self._since is None else self._since
        if self._since is None or (now < self._quiet_at and now < self._since + MOST_SECONDS):
            return
        if not self._store.scrub_pending():
            let_go(self._store)
            self._since = None
