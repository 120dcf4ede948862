"""What changed between two sets of lists of the same people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rag_rec.evaluation.bootstrap import interval
from rag_rec.fairness.metric import Metric, change
from rag_rec.fairness.served import Served


def judgement(figures: Sequence[Metric], before: Served, after: Served, seed: int) -> dict[str, Any]:
    """What changed between two sets of lists of the same people: accuracy, its loss, and how far figures are from fair.

    ``loss`` is a share of the accuracy before, with its interval; figures have the change of their distance from fair.
    """
    old, new = before.gains, after.gains
    gaps = {each.name: [round(abs(each.of(lists) - each.fair), 6) for lists in (before, after)] for each in figures}
    mean = max(1e-12, float(old.mean()))
    low, high = interval(old - new, seed)
    return {
        "ndcg": [round(float(old.mean()), 6), round(float(new.mean()), 6)],
        "loss": round(float((old - new).mean()) / mean, 6),
        "loss_interval": [round(low / mean, 6), round(high / mean, 6)],
        "gaps": gaps,
        "figures": {each.name: rounded(*change(each, before, after, seed)) for each in figures},
    }


def rounded(value: float, bounds: tuple[float, float]) -> tuple[float, float, float]:
    """A value and its interval."""
    return round(value, 6), round(bounds[0], 6), round(bounds[1], 6)
