"""Which of what was learned is to go: a mask over the training samples, from scores of what each one's going does.

To first order figures change by sums over what goes, so that the best mask solves a linear program: ::

    minimise   sum_i m_i a_i + price * sum_i m_i     a_i: what the going of i does to the unfairness
    so that    sum_i m_i c_i <= loss                 c_i: what it does to the loss of accuracy
               sum_i m_i <= most                     0 <= m_i <= 1

A mask takes a sample whole or not, and so may miss a part of one. For a multiplier of the loss the solution is the
``most`` smallest of ``a + multiplier * c`` that lie below the price taken off, and the loss falls as the multiplier
grows: so it is found by halving. A mask that is learned by descent on a sigmoid goes to the same corner more slowly (a
test holds one against the other). The bias does not show in it: any figure with scores will do, and several add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.fairness.groups import Numbers
from rag_rec.fairness.served import Floats

Flags = npt.NDArray[np.bool_]
HALVINGS: Final = 60
DOUBLINGS: Final = 60


@dataclass(frozen=True, slots=True)
class Scores:
    """What the going of each training sample does, to first order.

    Attributes:
        unfairness: the change of what is made small, float64 [samples].
        loss: the change of the loss of accuracy, float64 [samples].
        person: whose it is, int64 [samples].
        protected: whether it may not go, bool [samples].
        tied: whether a person goes with all samples or with none.
    """

    unfairness: Floats
    loss: Floats
    person: Numbers
    protected: Flags
    tied: bool = False


@dataclass(frozen=True, slots=True)
class Mask:
    """What is to go.

    Attributes:
        rows: bool [samples].
        unfairness: the change that is predicted.
        loss: of accuracy, the change that is predicted.
    """

    rows: Flags
    unfairness: float
    loss: float

    @property
    def count(self) -> int:
        """How many samples go."""
        return int(self.rows.sum())


def mask(scores: Scores, most: int, loss: float, price: float = 0.0) -> Mask:
    """The best mask, to within one sample; where people are tied, a good one.

    Args:
        scores: of the samples.
        most: the largest number of samples that may go.
        loss: the largest loss of accuracy, in the unit of the scores; at least 0.
        price: how much better a sample's going has to be than nothing, so that few go.
    """
    found = _chosen(scores, most, price, 0.0)
    if found.loss <= loss:
        return found
    low, high = 0.0, _multiplier(scores, most, loss, price)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        if _chosen(scores, most, price, middle).loss <= loss:
            high = middle
        else:
            low = middle
    found = _chosen(scores, most, price, high)
    return found if found.loss <= loss else _nothing(scores)


def path(scores: Scores, counts: Sequence[int], loss: float, price: float = 0.0) -> list[Mask]:
    """The best mask of each of several numbers of samples; arguments as of :func:`mask`."""
    return [mask(scores, count, loss, price) for count in counts]


def _multiplier(scores: Scores, most: int, loss: float, price: float) -> float:
    """One that is large enough."""
    spread = float(np.abs(scores.loss).max(initial=0.0)) or 1.0
    found = float(np.abs(scores.unfairness).max(initial=0.0)) / spread or 1.0
    for _ in range(DOUBLINGS):
        if _chosen(scores, most, price, found).loss <= loss:
            break
        found *= 2.0
    return found


def _chosen(scores: Scores, most: int, price: float, multiplier: float) -> Mask:
    worth = scores.unfairness + multiplier * scores.loss + price
    worth = np.where(scores.protected, np.inf, worth)
    rows = _people(scores, worth, most) if scores.tied else _smallest(worth, most)
    return Mask(rows, float(scores.unfairness[rows].sum()), float(scores.loss[rows].sum()))


def _smallest(worth: Floats, most: int) -> Flags:
    order = np.argsort(worth, kind="stable")[: max(0, most)]
    rows = np.zeros(len(worth), dtype=np.bool_)
    rows[order[worth[order] < 0.0]] = True
    return rows


def _people(scores: Scores, worth: Floats, most: int) -> Flags:
    """Whole people, those first of whom each sample's going is worth most, as far as there is room for them."""
    _, person = np.unique(scores.person, return_inverse=True)
    sizes = np.bincount(person)
    together = np.bincount(person, weights=np.where(np.isfinite(worth), worth, 0.0))
    barred = np.bincount(person, weights=scores.protected) > 0
    each = np.where(barred, np.inf, together / np.maximum(1, sizes))
    order = np.argsort(each, kind="stable")
    order = order[each[order] < 0.0]
    going = np.zeros(len(sizes), dtype=np.bool_)
    room = most
    for one in order.tolist():
        if sizes[one] <= room:
            going[one] = True
            room -= int(sizes[one])
    return np.asarray(going[person])


def _nothing(scores: Scores) -> Mask:
    return Mask(np.zeros(len(scores.loss), dtype=np.bool_), 0.0, 0.0)
