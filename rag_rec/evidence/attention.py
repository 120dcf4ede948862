"""Evidence that the candidates attend to most."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag_rec.evidence.budget import Rows, affordable, fill, total
from rag_rec.evidence.protocol import Memory

TEMPERATURE = 0.1
"""Divides the cosine of candidate and row, so that a row closer by 0.1 gets e times the attention."""


TIE_DIGITS = 5
"""Masses, in units of their mean, that agree to so many decimals count as equal: more is rounding of float32."""

LEAST_WEIGHT = 1e-6
"""Lower bound of a weight under the logarithm."""


class Attention:
    """Ranks the user's rows by the attention that they receive from the candidates.

    Scaled dot-product attention (Vaswani et al. 2017, equation 1): every candidate is a query, every row of the history
    a key; candidate c attends to row i with softmax_i(q_c . k_i / temperature + log w_i), where w_i is the row's
    weight (the rating), so that of two equal rows the better liked one gets more. A row's mass is its attention summed
    over candidates. Rows are taken by descending mass, then newest first, while they fit. Without candidates there is
    nothing to attend from, and the mass is the weight alone. Queries and keys are the unit vectors of the item texts
    themselves: nothing is learned from people, so nothing has to be fitted again after a removal.

    Source: "select high-impact interactions via multi-head attention with candidate items", CRAGRU
    (arXiv 2511.05494), model-based filtering. In its published code the embeddings are *random and untrained*, the
    mean of all candidates is the one query, rating squared scales the keys, and the heads and projections are never
    used; a row limit (100) stands for the budget.
    """

    def __init__(self, temperature: float = TEMPERATURE) -> None:
        self.temperature = temperature

    def select(self, memory: Memory, candidates: npt.NDArray[np.float32], budget: int) -> Rows:
        """Rows to show, ascending. See :class:`~rag_rec.evidence.protocol.EvidenceStrategy`."""
        rows = affordable(memory.tokens, budget)
        if not len(rows) or total(memory.tokens, rows) <= budget:
            return rows
        mass = self.mass(memory, candidates)
        comparable = np.round(mass * len(memory), TIE_DIGITS)
        order = np.lexsort((-np.arange(len(memory)), -comparable))
        return fill(order[np.isin(order, rows)], memory.tokens, budget)

    def mass(self, memory: Memory, candidates: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Share of all attention that each row of a history with n > 0 rows receives, float64 [n], summing to 1."""
        if not len(candidates):
            return np.asarray(memory.weights / memory.weights.sum())
        candidates = _in_one_order(candidates)
        prior = np.log(np.maximum(memory.weights, LEAST_WEIGHT)).astype(np.float32)
        logits = (candidates @ memory.vectors.T) * np.float32(1 / self.temperature) + prior
        logits -= logits.max(axis=-1, keepdims=True)
        attention = np.exp(logits, out=logits)
        attention /= attention.sum(axis=-1, keepdims=True)
        return np.asarray(attention.mean(axis=0, dtype=np.float64))


def _in_one_order(candidates: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The same candidates in an order of their bytes: rounding, too, must not depend on the order they came in."""
    rows = np.ascontiguousarray(candidates)
    keys = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    return rows[np.argsort(keys)]
