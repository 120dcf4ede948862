"""A tiny base, and people who go round its items in order."""

from __future__ import annotations

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rag_rec.compact.sequences import TokenSequence, Windows
from rag_rec.compact.training import AdapterSettings

ITEMS = 20
FIRST_ITEM = 5
KNOWN = FIRST_ITEM + ITEMS
SPARE = 7
CPU = torch.device("cpu")


def a_base() -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=KNOWN + SPARE,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def windows(settings: AdapterSettings, people: range = range(24)) -> Windows:
    """People who go round the items in order, from different ones on."""
    sequences = [
        TokenSequence(np.array([0]), FIRST_ITEM + (start + np.arange(4 + start % 9)) % ITEMS) for start in people
    ]
    return Windows(sequences, settings.context, settings.batch, padding=1, seed=settings.seed)
