"""What a running system says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from rag_rec.generators.condition import OFF, Condition


@dataclass(frozen=True, slots=True)
class Status:
    """State of a running system.

    ``lag`` is how many changes the store is ahead of what is in memory, ``suppressed`` how many events were refused
    because a person had been forgotten, ``erasure_epoch`` the newest epoch at which something was removed,
    ``ledger_copy_lag`` how many entries the copy of the ledger lacks, -1 if it cannot be read or its last
    entry is not the store's. ``removal_process_losses`` counts the removals whose process was lost. ``generator``
    says whether the LLM can be asked; answers come without it, too.
    """

    ready: bool
    generation: str
    epoch: int
    lag: int
    users: int
    items: int
    interactions: int
    suppressed: int
    erasure_epoch: int
    ledger_copy_lag: int
    removal_process_losses: int = 0
    generator: Condition = OFF
    reason: str | None = None
