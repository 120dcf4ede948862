"""A forward pass of transformers as one would write it by hand, to hold the local backend against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rag_rec.generators.protocol import Encoded

Batch = tuple[Tensor, Tensor]
"""Token ids and attention mask, int64 [B, L], padded on the left."""


def padded_batches(questions: Sequence[Encoded], size: int, device: torch.device) -> list[Batch]:
    """The questions sorted by length, in batches of ``size``: the same ones that the local backend makes."""
    ordered = sorted((question.tokens for question in questions), key=len)
    return [_padded(ordered[start : start + size], device) for start in range(0, len(ordered), size)]


def forward(model: Any, batches: Sequence[Batch]) -> None:
    """Log-probabilities of the token after each prompt, and nothing done with them."""
    with torch.inference_mode():
        for tokens, mask in batches:
            logits = model(input_ids=tokens, attention_mask=mask, use_cache=False, logits_to_keep=1).logits
            logits[:, -1].float().log_softmax(-1)
    if tokens.is_cuda:
        torch.cuda.synchronize()


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Batch:
    longest = max(map(len, rows))
    tokens = torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return tokens.to(device), mask.to(device)
