"""Which of the user's own interactions speak for a recommended item."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag_rec.domain import Reason
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.evidence_pool import EvidencePool

REASONS = 3
"""How many interactions an item cites at most."""


def cite(
    live: ServingState, items: npt.NDArray[np.int32], memory: EvidencePool, chosen: npt.NDArray[np.int64]
) -> list[tuple[Reason, ...]]:
    """For each item, the rows of the evidence that support it most.

    Support is the sum of two cosines in [0, 1]: of the texts (item and interaction), and of the people who liked both
    (G_ij / sqrt(G_ii G_jj), from the co-occurrence counts). A reason's weight is its share of the support by all the
    positive evidence: what the user did not like is no reason. Only the evidence of the same user is looked at, so
    nobody else can be cited.

    Args:
        live: the state to read vectors and counts from.
        items: int32 [k] numbers of the recommended items.
        memory: the user's history, m rows.
        chosen: int64 [e] rows of the memory that are the evidence.

    Returns:
        k tuples of at most :data:`REASONS` reasons, strongest first; empty where nothing supports an item.
    """
    chosen = chosen[live.liked(memory.history[chosen])]
    if not len(chosen) or not len(items):
        return [() for _ in items]
    history = memory.history[chosen]
    by_text = live.items.vectors()[items] @ memory.rows.vectors[chosen].T
    by_people = live.statistics.affinity(items, history["item"])
    support = (np.clip(by_text, 0, 1) + by_people) * memory.rows.weights[chosen]
    strongest = np.argsort(-support.round(9), axis=1, kind="stable")[:, :REASONS]
    totals = support.sum(axis=1, keepdims=True)
    shares = np.divide(support, totals, out=np.zeros_like(support), where=totals > 0)
    weights = np.take_along_axis(shares, strongest, axis=1)
    ids, names = live.items.catalogue.ids, live.events
    rows = list(zip(history["item"].tolist(), history["event"].tolist(), history["time"].tolist(), strict=True))
    return [
        tuple(
            Reason(ids[rows[row][0]], names[rows[row][1]], rows[row][2], weight)
            for row, weight in zip(*line, strict=True)
            if weight > 0
        )
        for line in zip(strongest.tolist(), weights.tolist(), strict=True)
    ]
