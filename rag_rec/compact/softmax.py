"""The loss over a catalogue so large that the softmax is estimated from a sample of its items."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def sampled_loss(hidden: Tensor, head: Tensor, targets: Tensor, negatives: int, draws: torch.Generator) -> Tensor:
    """Cross-entropy with an unbiased estimate of the softmax's sum.

    The targets of the batch are summed exactly; the other tokens by a sample without replacement that all positions
    share, each weighted by how many it stands for.

    Args:
        hidden: [n, d].
        head: [v, d].
        targets: int64 [n].
        negatives: size of the sample.
        draws: the generator.
    """
    present, places = torch.unique(targets, return_inverse=True)
    others = torch.ones(len(head), dtype=torch.bool, device=head.device)
    others[present] = False
    absent = others.nonzero()[:, 0]
    drawn = absent[torch.randperm(len(absent), generator=draws, device=head.device)[:negatives]]
    logits = hidden @ head[torch.cat([present, drawn])].T
    stands_for = len(absent) / max(1, len(drawn))
    weight = torch.zeros(logits.shape[1], device=head.device)
    weight[len(present) :] = math.log(max(1.0, stands_for))
    return functional.cross_entropy(logits + weight, places)
