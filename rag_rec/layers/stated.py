"""Layers of which the same holds for every request: what a receipt says of them, and why."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.protocol import QuietLayer
from rag_rec.layers.records import ForgetState, Group

LOGS = (
    "The service logs no identifier, body or query; logs of proxies before it are the operator's. The ledger, with its "
    "audit trail of who removed, exported or held whom, keeps a keyed pseudonym of the person, and no id."
)
BASE = "The LLM's own weights were not trained on anybody's interactions here, so there is nothing to remove."
COPIES = (
    "Copies outside the data folder are the operator's: a backup keeps what was forgotten until it is destroyed. "
    "A restore replays the erasure ledger before anything may serve."
)


class StatedLayer(QuietLayer):
    """A layer beyond the product's reach, or without anything of a person. Removes nothing."""

    state = ForgetState.COMPLETE

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._finding = Finding(name, Status.OUT_OF_SCOPE, why)

    def look(self, group: Group) -> Sequence[Finding]:
        """The same of every request."""
        return [self._finding] * len(group)


def stated_layers() -> list[StatedLayer]:
    """Logs, the base model's weights, and copies."""
    return [
        StatedLayer(LayerName.LOGS, LOGS),
        StatedLayer(LayerName.BASE_LLM, BASE),
        StatedLayer(LayerName.COPIES, COPIES),
    ]
