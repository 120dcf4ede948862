"""The layers that a person's data reaches, and what can be said of each after a removal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rag_rec.layers.records import ForgetState


class LayerName(StrEnum):
    """The places that a person's data reaches. A receipt speaks of each, and may speak of others."""

    STORE = "store"
    INDICES = "vector_indices"
    STATISTICS = "statistics"
    READER = "fusion_reader"
    ANSWERS = "answers_and_caches"
    TEMPORARY = "temporary_files"
    LOGS = "logs"
    ADAPTER = "adapter"
    BASE_LLM = "base_llm"
    COPIES = "backups_and_exports"
    FREED = "freed_memory"

    @property
    def holds_back(self) -> bool:
        """Whether a request waits for this layer before it is complete.

        Of one that does not, a later revision of the receipt says that it is final.
        """
        return STATES[self] is not None


STATES: Final[Mapping[str, ForgetState | None]] = {
    LayerName.STORE: ForgetState.ERASED,
    LayerName.INDICES: ForgetState.ERASED,
    LayerName.TEMPORARY: ForgetState.ERASED,
    LayerName.STATISTICS: ForgetState.EFFECTIVE,
    LayerName.ANSWERS: ForgetState.EFFECTIVE,
    LayerName.ADAPTER: ForgetState.UNLEARNED,
    LayerName.READER: ForgetState.COMPLETE,
    LayerName.LOGS: ForgetState.COMPLETE,
    LayerName.BASE_LLM: ForgetState.COMPLETE,
    LayerName.COPIES: ForgetState.COMPLETE,
    LayerName.FREED: None,
}
"""The layers that every receipt covers, and the state that a request cannot reach before each is final."""


def layer_named(name: str) -> str:
    """The layer of this name, where it is one of those that every receipt covers; else the name."""
    return LayerName(name) if name in set(LayerName) else name


class Status(StrEnum):
    """What is known of a layer."""

    PROVEN = "PROVEN"  # nothing is left; it was looked for after the removal
    MEASURED = "MEASURED"  # what is left has been measured
    PENDING = "PENDING"  # something may be left until ``until``
    OUT_OF_SCOPE = "OUT_OF_SCOPE"  # beyond the product's reach; ``why`` says what to do


FINAL: Final = frozenset({Status.PROVEN, Status.MEASURED, Status.OUT_OF_SCOPE})

_HOLDING: Final = frozenset(layer for layer in LayerName if layer.holds_back)
LATER: Final = frozenset(LayerName) - _HOLDING
"""Layers for which no request waits."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in a layer after the removal.

    Attributes:
        layer: where.
        status: what is known.
        why: one sentence: what was looked at, or why nothing could be.
        until: for PENDING, milliseconds since 1970 by when it will be gone; else None.
        detail: figures and digests; plain JSON values.
    """

    layer: str
    status: Status
    why: str
    until: int | None = None
    detail: dict[str, str | int | float | None] = field(default_factory=dict)


def is_complete(findings: Iterable[tuple[str, str]]) -> bool:
    """Whether (layer, status) pairs cover every layer that holds a request back, and leave none of these open.

    No layer is named twice. A layer of freed memory may be named or not: receipts may be older than it. Layers of other
    names hold back, too: of what is unknown here it is only known whether it is final.
    """
    pairs = list(findings)
    names = [layer for layer, _ in pairs]
    later = [status for layer, status in pairs if layer in LATER]
    held = [status for layer, status in pairs if layer not in LATER]
    known = all(status in set(Status) for status in later)
    return known and len(set(names)) == len(names) and set(names) >= _HOLDING and all(each in FINAL for each in held)
