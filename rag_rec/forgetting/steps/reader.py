"""What a receipt says of the fusion reader: a few thousand numbers shared by all, fitted anew by each build."""

from __future__ import annotations

from functools import cached_property
from typing import Final

from rag_rec.errors import RagRecError
from rag_rec.forgetting.layers import Finding, Layer, Status
from rag_rec.generation import Generations

READER_ATTACK: Final[dict[str, str | int | float | None]] = {
    "membership_inference_auc": 0.5642,
    "low": 0.5273,
    "high": 0.6007,
    "measured_on": "ML-100K, the strongest attack of benchmarks.compact_variants",
}
"""The reader's membership inference as measured (benchmarks/results/compact_variants.json, "candidate model"). A test
holds it to that file."""


class ReaderFindings:
    """The reader of the index in use at one moment: it is looked up once for any number of requests."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    def of(self, erased: int) -> Finding:
        """PROVEN where it was fitted at or after an erasure epoch, else what an attack on readers has measured."""
        fitted = self._fitted
        if fitted is None:
            return Finding(Layer.READER, Status.PROVEN, "No reader has been fitted.")
        if fitted >= erased:
            why = "The reader of the index in use was fitted after the erasure."
            return Finding(Layer.READER, Status.PROVEN, why)
        when = "fitted before the erasure" if fitted >= 0 else "perhaps fitted before the erasure"
        why = f"A few thousand numbers shared by all people, {when}; the next rebuild fits them anew."
        return Finding(Layer.READER, Status.MEASURED, why, None, dict(READER_ATTACK))

    @cached_property
    def _fitted(self) -> int | None:
        """The epoch at which the reader in use was fitted; -1 where it is not known, None where there is none."""
        name = self._generations.current_id()
        if name is None:
            return None
        try:
            manifest = self._generations.open(name).manifest
        except RagRecError:  # damaged
            return -1
        return manifest.epoch if manifest.reader_fitted else -1
