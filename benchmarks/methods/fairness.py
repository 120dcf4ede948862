"""How evenly a ranking treats items and users: figures beside its accuracy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
HEAD = 0.2
GROUPS = 5
TOP = 10


def item_side(recommended: Numbers, popularity: Numbers, chosen: Numbers) -> dict[str, float]:
    """Evenness over items of top-10 lists.

    Args:
        recommended: item numbers [users, 10].
        popularity: how many people liked each item, [items].
        chosen: item number of each user's answer, [users].

    Returns:
        ``head share``: share of the places that go to the 20 % most popular items, and ``head share of choices``, that
        of what people really chose. ``gini``: of the exposure of all items (0 even, 1 all on one). ``mgu`` and ``dgu``:
        mean and largest-minus-smallest of the group unfairness over five groups of items by popularity, where a
        group's unfairness is its share of the places minus its share of the choices (Jiang et al., "Item-side Fairness
        of Large Language Model-based Recommendation System", arXiv 2402.15215).
    """
    order = np.argsort(-popularity, kind="stable")
    head = np.zeros(len(popularity), dtype=np.bool_)
    head[order[: max(1, int(HEAD * len(order)))]] = True
    group = np.zeros(len(popularity), dtype=np.int64)
    group[order] = np.arange(len(order)) * GROUPS // len(order)
    gaps = _shares(group[recommended.ravel()]) - _shares(group[chosen])
    return {
        "head share": round(float(head[recommended].mean()), 4),
        "head share of choices": round(float(head[chosen].mean()), 4),
        "gini": round(gini(np.bincount(recommended.ravel(), minlength=len(popularity))), 4),
        "mgu": round(float(np.abs(gaps).mean()), 4),
        "dgu": round(float(gaps.max() - gaps.min()), 4),
    }


def user_side(gains: Floats, groups: dict[str, Numbers]) -> dict[str, float]:
    """For each way to group users, the largest difference of NDCG@10 between two groups.

    Args:
        gains: NDCG@10 of each user, [users].
        groups: group of each user, [users], by the name of the grouping.
    """
    gaps = {}
    for name, group in groups.items():
        means = [gains[group == each].mean() for each in np.unique(group)]
        gaps[f"ndcg gap by {name}"] = round(float(max(means) - min(means)), 4)
    return gaps


def by_activity(lengths: Numbers) -> Numbers:
    """Users in four groups of equal size by the length of their history."""
    return np.argsort(np.argsort(lengths, kind="stable"), kind="stable") * 4 // max(1, len(lengths))


def gini(exposure: npt.NDArray[np.integer]) -> float:
    """Gini coefficient of how often each item is shown."""
    ascending = np.sort(exposure).astype(np.float64)
    total = ascending.sum()
    if not total:
        return 0.0
    places = np.arange(1, len(ascending) + 1)
    return float((2 * places - len(ascending) - 1) @ ascending / (len(ascending) * total))


def _shares(groups: Numbers) -> Floats:
    counts = np.bincount(groups, minlength=GROUPS)
    return np.asarray(counts / counts.sum())
