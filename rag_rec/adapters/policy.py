"""Whether an adapter that saw a forgotten person may still rank until it has been trained again."""

from __future__ import annotations

from typing import Final

from rag_rec.layers.records import ForgetRecord
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

HOUR_MS: Final = 3_600_000
NEVER: Final = 0
"""A limit that has always passed."""


def serves_until(record: ForgetRecord, settings: Settings) -> int:
    """Until when an adapter that saw what a request removed may rank, in milliseconds since 1970 UTC."""
    if settings.adapter_policy == "strict":
        return NEVER
    return min(record.created + settings.adapter_hours * HOUR_MS, record.deadline)


class AdapterPolicy:
    """The policy of the settings over the debts in a store. Asking again is cheap, however many requests there are."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        self._limits: dict[str, int] = {}  # of the oldest debt: as long as an adapter has any, its limit stays

    def limit(self, adapter: str) -> int | None:
        """Until when an adapter may rank, in milliseconds since 1970 UTC; None while it owes nothing."""
        requests = {debt.request_id for debt in self._store.debts() if debt.adapter == adapter}
        if not requests:
            self._limits.pop(adapter, None)
            return None
        if adapter not in self._limits:
            owed = (each for each in self._store.forget_records(pending=True) if each.request_id in requests)
            self._limits[adapter] = min((serves_until(record, self._settings) for record in owed), default=NEVER)
        return self._limits[adapter]

    def may_serve(self, adapter: str, now: int) -> bool:
        """Whether an adapter may rank at a time, in milliseconds since 1970 UTC."""
        limit = self.limit(adapter)
        return limit is None or now < limit
