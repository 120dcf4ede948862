"""The layers from which nothing has to be removed at once, or can be: what a receipt says of them, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rag_rec.errors import RagRecError
from rag_rec.forgetting.layers import Finding, Layer, Status
from rag_rec.forgetting.steps.protocol import Group
from rag_rec.forgetting.system import System

READER_ATTACK: Final[dict[str, str | int | float | None]] = {
    "membership_inference_auc": 0.5642,
    "low": 0.5273,
    "high": 0.6007,
    "measured_on": "ML-100K, the strongest attack of benchmarks.compact_variants",
}
"""The reader's membership inference as measured (benchmarks/results/compact_variants.json, "candidate model"). A test
holds it to that file."""

LOGS = "The service logs no identifier, body or query; logs of proxies before it are the operator's."
BASE = "The LLM's own weights were not trained on anybody's interactions here, so there is nothing to remove."
COPIES = (
    "Copies outside the data folder are the operator's: a backup keeps what was forgotten until it is destroyed. "
    "A restore replays the erasure ledger before anything may serve."
)


class StateRemaining:
    """Says what holds of the reader, logs, base model and copies. Removes nothing."""

    name = "remaining"

    def __init__(self, system: System) -> None:
        self._generations = system.generations

    def act(self, group: Group) -> None:
        """Nothing has to be done."""

    def verify(self, group: Group) -> Sequence[Finding]:
        """One finding for each of these layers."""
        return [
            self.reader(max(record.epoch_after for record in group)),
            Finding(Layer.LOGS, Status.OUT_OF_SCOPE, LOGS),
            Finding(Layer.BASE_LLM, Status.OUT_OF_SCOPE, BASE),
            Finding(Layer.COPIES, Status.OUT_OF_SCOPE, COPIES),
        ]

    def reader(self, erased: int) -> Finding:
        """PROVEN where the reader in use was fitted after the erasure, else what an attack on readers has measured."""
        built = self._built()
        if built is None:
            return Finding(Layer.READER, Status.PROVEN, "No reader has been fitted.")
        if built >= erased:
            return Finding(Layer.READER, Status.PROVEN, "The reader in use was fitted after the erasure.")
        why = "A few thousand numbers shared by all people, fitted before the erasure; the next rebuild fits them anew."
        return Finding(Layer.READER, Status.MEASURED, why, None, dict(READER_ATTACK))

    def _built(self) -> int | None:
        """The epoch at which the reader in use was fitted; None where there is none."""
        name = self._generations.current_id()
        if name is None:
            return None
        try:
            return self._generations.open(name).manifest.epoch
        except RagRecError:
            return -1  # damaged: nothing is known of it
