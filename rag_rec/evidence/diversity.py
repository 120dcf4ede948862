"""Evidence that covers as much of a user's history as the budget allows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rag_rec.evidence.budget import Rows, affordable, total
from rag_rec.evidence.protocol import Memory

MAX_ROWS = 2000
"""Only so many of the newest rows are looked at: time and memory grow with the square of their number."""

TOLERANCE = 1e-6
"""Below this fraction of the largest gain, a gain is rounding (of float32 similarities) and counts as none."""

FREE = 1e-6
"""What a row of no tokens is taken to cost when gains per token are compared."""


class Diversity:
    """Chooses the rows that represent the whole history best: budgeted facility location.

    Every row of the history is a client, and is served by the most similar chosen row. With weights w and similarities
    s_ij = max(0, cosine), the coverage f(S) = sum_i w_i max_{j in S} s_ij is monotone and submodular. It is maximised
    under the knapsack constraint sum_{j in S} tokens_j <= budget by *Greedy+Max*: grow a set by the best gain per
    token, remember at every step the set with the single best further row added, and return the best set met. Its
    coverage is at least 1/2 of the optimum (Yaroslavtsev, Zhou, Avdiukhin, "Bring Your Own Greedy"+Max, AISTATS 2020),
    better than the (1 - 1/e)/2 of the larger of cost-benefit greedy and the best single row (Leskovec et al., CELF,
    KDD 2007). :func:`upper_bound` tells for a given history how far from the optimum a choice can be at most.
    Gains are kept exact by touching only the clients that the last chosen row serves better, so nothing is evaluated
    twice. Of equal rows the newest is chosen. Rows that add no coverage (repeats of a chosen item) are left out, even
    where budget remains, unless everything fits.

    Source: "formulate retention as a knapsack allocation over categories to balance coverage and utility", CRAGRU
    (arXiv 2511.05494), diversity-aware filtering. Its published code solves the knapsack once for everybody, over five
    categories and a base model's Hit@10, from ratios pasted into the script by hand (one data set's vector for all),
    and then draws *random* rows per category. Here the knapsack is each user's own, over rows and their real tokens.
    """

    def select(self, memory: Memory, candidates: npt.NDArray[np.float32], budget: int) -> Rows:  # noqa: ARG002
        """Rows to show, ascending; candidates are ignored. See :class:`~rag_rec.evidence.protocol.EvidenceStrategy`."""
        rows = affordable(memory.tokens, budget)
        if not len(rows) or total(memory.tokens, rows) <= budget:
            return rows
        newest_first = slice(None, -MAX_ROWS - 1, -1)
        cover = _Cover(similarities(memory.vectors[newest_first]), memory.weights[newest_first])
        chosen = _greedy_plus_max(cover, memory.tokens[newest_first].astype(np.float64), budget)
        return np.sort(len(memory) - 1 - np.array(chosen, dtype=np.int64))


def similarities(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """max(0, cosine) of every two rows, float32 [n, n]; the vectors are unit vectors."""
    rows = np.ascontiguousarray(vectors)  # a matrix times its own transpose costs half of any other product
    product = rows @ rows.T
    return np.asarray(np.maximum(product, 0.0, out=product))


def coverage(memory: Memory, rows: Rows) -> float:
    """f(rows): how well these rows represent the history, between 0 and the sum of the weights."""
    if not len(rows):
        return 0.0
    best = np.maximum(memory.vectors @ memory.vectors[rows].T, 0.0).max(axis=1)
    return float(memory.weights @ best)


def upper_bound(memory: Memory, rows: Rows, budget: int) -> float:
    """No choice under the budget covers more than this, which is computed from the choice ``rows``.

    By submodularity an optimal set gains over ``rows`` at most the sum of its single gains, and that sum is at most
    the fractional knapsack of all single gains (Leskovec et al., KDD 2007, section 3.2; no row limit is applied).
    """
    cover = _Cover(similarities(memory.vectors), memory.weights)
    for row in rows.tolist():
        cover.add(row)
    open_rows = affordable(memory.tokens, budget)
    gains = np.maximum(cover.gains[open_rows], 0.0)
    costs = memory.tokens[open_rows].astype(np.float64)
    order = np.argsort(-gains / np.maximum(costs, FREE), kind="stable")
    left = budget - np.concatenate(([0.0], np.cumsum(costs[order])[:-1]))[: len(order)]
    share = np.where(costs[order] > 0, np.clip(left / np.maximum(costs[order], 1.0), 0.0, 1.0), 1.0)
    return coverage(memory, rows) + float(share @ gains[order])


class _Cover:
    """How well each client is served by the rows chosen so far, and what each further row would add."""

    def __init__(self, similarity: npt.NDArray[np.float32], weights: npt.NDArray[np.float64]) -> None:
        self.similarity = similarity
        self.weights = weights.astype(np.float32)
        self.served = np.zeros(len(weights), dtype=np.float32)
        self.gains = (self.weights @ similarity).astype(np.float64)
        self.value = 0.0

    def add(self, row: int) -> None:
        """Choose a row. Only clients that it serves better than before change what other rows can still add."""
        service = self.similarity[row]
        better = np.flatnonzero(service > self.served)
        before, after, weights = self.served[better], service[better], self.weights[better]
        lost = self.similarity[better]  # what each row would have added: its similarity, cut to [before, after]
        np.maximum(lost, before[:, None], out=lost)
        np.minimum(lost, after[:, None], out=lost)
        past = weights.dot(before)
        self.gains -= weights.dot(lost) - past
        self.value += float(weights.dot(after) - past)
        self.served[better] = after


def _greedy_plus_max(cover: _Cover, tokens: npt.NDArray[np.float64], budget: int) -> list[int]:
    """The best of: every set that the cost-benefit greedy passes through, with the best single row added.

    Of equal rows the first is taken.
    """
    left, largest = float(budget), float(tokens.max(initial=0.0))
    per_token = 1.0 / np.maximum(tokens, FREE)
    gains, worthless = cover.gains, TOLERANCE * float(cover.gains.max(initial=0.0))
    chosen: list[int] = []
    best, best_value = (0, -1), 0.0
    while True:
        if left < largest:
            gains[tokens > left] = -np.inf
        single = int(gains.argmax())
        gain = float(gains[single])
        if gain <= worthless:
            break
        if cover.value + gain > best_value:
            best, best_value = (len(chosen), single), cover.value + gain
        row = int((gains * per_token).argmax())
        cover.add(row)
        chosen.append(row)
        left -= tokens[row]
        gains[row] = -np.inf
    return chosen if cover.value >= best_value * (1 - TOLERANCE) else [*chosen[: best[0]], best[1]]
