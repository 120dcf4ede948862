"""The layers that a person's data reaches, and what can be said of each after a removal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Layer(StrEnum):
    """Every place that a person's data reaches. A receipt speaks of each."""

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
        return self is not Layer.FREED


class Status(StrEnum):
    """What is known of a layer."""

    PROVEN = "PROVEN"  # nothing is left; it was looked for after the removal
    MEASURED = "MEASURED"  # what is left has been measured
    PENDING = "PENDING"  # something may be left until ``until``
    OUT_OF_SCOPE = "OUT_OF_SCOPE"  # beyond the product's reach; ``why`` says what to do


FINAL: Final = frozenset({Status.PROVEN, Status.MEASURED, Status.OUT_OF_SCOPE})

_HOLDING: Final = frozenset(layer for layer in Layer if layer.holds_back)
_LATER: Final = frozenset(Layer) - _HOLDING


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

    layer: Layer
    status: Status
    why: str
    until: int | None = None
    detail: dict[str, str | int | float | None] = field(default_factory=dict)


def is_complete(findings: Iterable[tuple[str, str]]) -> bool:
    """Whether (layer, status) pairs cover every layer that holds a request back once, and leave none of these open.

    The others may be named once, or not at all: receipts may be older than they. What is unknown is never complete.
    """
    pairs = list(findings)
    later = [(layer, status) for layer, status in pairs if layer in _LATER]
    held = [(layer, status) for layer, status in pairs if layer not in _LATER]
    final = all(status in FINAL for _, status in held) and all(status in set(Status) for _, status in later)
    once = len({layer for layer, _ in later}) == len(later)
    return final and once and sorted(layer for layer, _ in held) == sorted(_HOLDING)
