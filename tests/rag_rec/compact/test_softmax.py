from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from rag_rec.compact.softmax import sampled_loss


def test_a_sample_of_everything_is_the_full_softmax() -> None:
    draws = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(6, 4, generator=draws), torch.randn(30, 4, generator=draws)
    targets = torch.tensor([3, 3, 9, 0, 29, 7])
    full = functional.cross_entropy(hidden @ head.T, targets)
    assert torch.allclose(sampled_loss(hidden, head, targets, 100, draws), full, atol=1e-6)


def test_a_sample_estimates_the_sum_of_the_softmax_without_bias() -> None:
    draws = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(1, 4, generator=draws), torch.randn(60, 4, generator=draws)
    targets = torch.tensor([3])
    own = (hidden @ head.T)[0, 3]
    sums = [float((sampled_loss(hidden, head, targets, 20, draws) + own).exp()) for _ in range(2000)]
    assert np.mean(sums) == pytest.approx(float((hidden @ head.T).exp().sum()), rel=0.03)
