"""Lists made smooth: how far an item is in a person's list, as a function of how likely it is, with derivatives.

A list holds the k likeliest items, whatever lies between their probabilities: the mass of the probabilities is a poor
likeness of it, since most of the mass is on the first places.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from rag_rec.fairness.groups import Numbers

SHARPNESS: Final = 4.0
"""By how much an item that is e times as likely is further in: the slope of a sigmoid of log-probabilities."""
HALVINGS: Final = 40


def places(likely: Tensor, length: int) -> Tensor:
    """How far each item is in each person's list, float [people, items] in [0, 1]; rows sum to the length of a list.

    An item is in by the sigmoid of how far its log-probability lies above a limit, which is each person's own.

    Args:
        likely: how likely each item is shown, float [people, items].
        length: of a list; all items are in where there are no more.
    """
    if length >= likely.shape[1]:
        return torch.ones_like(likely)
    scores = SHARPNESS * _log(likely)
    limit = _limit(scores.detach(), float(length))
    inside = torch.sigmoid(scores - limit)
    # One step of Newton's method towards the sum, which is there already: it gives the limit its derivatives.
    slope = (inside * (1.0 - inside)).sum(dim=1, keepdim=True).detach().clamp_min(torch.finfo(likely.dtype).tiny)
    return torch.sigmoid(scores - limit - (inside.sum(dim=1, keepdim=True) - length) / slope)


def ranks(likely: Tensor, chosen: Numbers) -> Tensor:
    """The place of each person's answer among all items, as a smooth number, float [people]; 0 is best.

    Args:
        likely: as of :func:`places`.
        chosen: item number of each answer, int64 [people].
    """
    scores = SHARPNESS * _log(likely)
    own = scores.gather(1, torch.as_tensor(chosen)[:, None])
    return torch.sigmoid(scores - own).sum(dim=1) - 0.5  # the answer itself counts one half


def _limit(scores: Tensor, length: float) -> Tensor:
    """Where the sigmoids of what lies above sum to the length, by halving; float [people, 1]."""
    reach = abs(torch.tensor(float(scores.shape[1])).log().item()) + 10.0
    low = scores.min(dim=1, keepdim=True).values - reach
    high = scores.max(dim=1, keepdim=True).values + reach
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        above = torch.sigmoid(scores - middle).sum(dim=1, keepdim=True) > length
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return (low + high) / 2.0


def _log(likely: Tensor) -> Tensor:
    return torch.log(likely.clamp_min(torch.finfo(likely.dtype).tiny))
