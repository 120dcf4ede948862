"""The layers from which nothing has to be removed at once, or can be: what a receipt says of them, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.forgetting.freed import FreedMemory
from rag_rec.forgetting.steps.protocol import Group, erased_at
from rag_rec.forgetting.steps.reader import ReaderFindings
from rag_rec.forgetting.system import System
from rag_rec.layers.finding import Finding, Layer, Status

LOGS = (
    "The service logs no identifier, body or query; logs of proxies before it are the operator's. The ledger, with its "
    "audit trail of who removed, exported or held whom, keeps a keyed pseudonym of the person, and no id."
)
BASE = "The LLM's own weights were not trained on anybody's interactions here, so there is nothing to remove."
COPIES = (
    "Copies outside the data folder are the operator's: a backup keeps what was forgotten until it is destroyed. "
    "A restore replays the erasure ledger before anything may serve."
)


class StateRemaining:
    """Says what holds of the reader, logs, base model, copies and freed memory. Removes nothing."""

    name = "remaining"

    def __init__(self, system: System) -> None:
        self._generations = system.generations
        self._store = system.store

    def act(self, group: Group) -> None:
        """Nothing has to be done."""

    def verify(self, group: Group) -> Sequence[Finding]:
        """One finding for each of these layers."""
        return [
            ReaderFindings(self._generations).of(erased_at(group)),
            Finding(Layer.LOGS, Status.OUT_OF_SCOPE, LOGS),
            Finding(Layer.BASE_LLM, Status.OUT_OF_SCOPE, BASE),
            Finding(Layer.COPIES, Status.OUT_OF_SCOPE, COPIES),
            FreedMemory(self._store).of(erased_at(group)),
        ]
