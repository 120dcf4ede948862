"""Semantic-ID tokens: an item is three code tokens of its text, so a vocabulary does not grow with the catalogue.

The codes come from a residual quantizer over text vectors (Rajput et al., "Recommender systems with generative
retrieval", NeurIPS 2023, arXiv 2305.05065). The score of a candidate is the log-probability of its three tokens, one
after the other: three generated tokens, or two more positions for each candidate on a shared prefix as here. That is
more than the one token that other generators need. Items with equal codes tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import faiss
import numpy as np
import numpy.typing as npt
import torch
from faiss.contrib.inspect_tools import get_additive_quantizer_codebooks
from torch.nn import functional
from transformers import LlamaForCausalLM

from rag_rec.compact.attributes import ItemAttributes
from rag_rec.compact.base import Base, BaseSettings, initial_model
from rag_rec.compact.base import train as train_base
from rag_rec.compact.projection import TextProjection
from rag_rec.compact.vocabulary import BOS, Vocabulary
from rag_rec.compact.walks import Walks
from rag_rec.domain import Item
from rag_rec.vectors.protocol import Vectors

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
LEVELS: Final = 3
BITS: Final = 6
CODES: Final = 2**BITS


@dataclass(frozen=True, slots=True)
class SemanticIds:
    """Attributes:
    codes: of each item, one per level, numbered through all levels, int64 [n, LEVELS].
    centroids: what each code stands for, float32 [LEVELS * CODES, d]; the sum of an item's is nearly its vector.
    """

    codes: Integers
    centroids: Vectors

    @classmethod
    def of(cls, vectors: Vectors) -> SemanticIds:
        """Quantize text vectors float32 [n, d]; at least :data:`CODES` of them."""
        quantizer = faiss.ResidualQuantizer(vectors.shape[1], LEVELS, BITS)
        quantizer.train(vectors)
        codes = faiss.unpack_bitstrings(quantizer.compute_codes(vectors), LEVELS, BITS).astype(np.int64)
        centroids = np.concatenate(get_additive_quantizer_codebooks(quantizer))  # type: ignore[no-untyped-call]
        return cls(codes + CODES * np.arange(LEVELS), centroids)

    @property
    def shared(self) -> int:
        """Items that have the same codes as another."""
        _, counts = np.unique(self.codes, axis=0, return_counts=True)
        return int(counts[counts > 1].sum())

    def written(self, history: Integers) -> Integers:
        """A history of item numbers as codes, int64 [LEVELS * n]."""
        return self.codes[history].reshape(-1)


@dataclass(frozen=True, slots=True)
class CodeWalks(Walks):
    """Walks over items, written as codes."""

    ids: SemanticIds

    def draw(self, draws: np.random.Generator) -> Integers:
        """As :meth:`Walks.draw`, int64 [count, 1 + LEVELS * length]."""
        walks = Walks.draw(self, draws)
        codes = self.ids.codes[walks[:, 1:] - self.first_item].reshape(len(walks), -1)
        return np.concatenate([walks[:, :1], self.first_item + codes], axis=1)


def semantic_base(vectors: Vectors, ids: SemanticIds, settings: BaseSettings) -> Base:
    """A base whose items are the codes, trained on walks over the graph of the real items' text vectors."""
    vocabulary = Vocabulary.of([Item(f"code {code}", "") for code in range(len(ids.centroids))])
    projection = TextProjection.of(ids.centroids, settings.width, settings.scale)
    no_attributes = np.empty((0, settings.width), dtype=np.float32)
    model = initial_model(vocabulary, no_attributes, projection.rows(ids.centroids), settings)
    none = ItemAttributes(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
    over = Walks.over(vectors, none, vocabulary, settings.walks)
    walks = CodeWalks(over.similar, over.named, over.sharing, over.first_item, over.settings, ids)
    train_base(model, walks, settings)
    return Base(model, vocabulary, projection)


def score(
    model: LlamaForCausalLM, vocabulary: Vocabulary, ids: SemanticIds, histories: Sequence[Integers], items: Integers
) -> Floats:
    """Log-probability of each candidate's codes after each history.

    Args:
        model: over codes.
        vocabulary: of the codes.
        ids: of the items.
        histories: codes of what is known, oldest first.
        items: candidates of each history, int64 [histories, c].

    Returns:
        float64 [histories, c].
    """
    rows = zip(histories, items, strict=True)
    return np.stack([_candidates(model, vocabulary, history, ids.codes[row]) for history, row in rows])


@torch.no_grad()
def _candidates(model: LlamaForCausalLM, vocabulary: Vocabulary, history: Integers, codes: Integers) -> Floats:
    """The history is read once; its keys and values are shared by two further positions of every candidate."""
    first = vocabulary.first_item
    head = model.lm_head.weight[first : vocabulary.first_spare].T
    prompt = torch.from_numpy(np.concatenate([[BOS], first + history]))[None]
    read = model.model(input_ids=prompt, use_cache=True)
    cache = read.past_key_values
    assert cache is not None  # noqa: S101
    cache.batch_repeat_interleave(len(codes))
    given = torch.from_numpy(first + codes[:, :-1])
    hidden = model.model(input_ids=given, past_key_values=cache, use_cache=True).last_hidden_state
    hidden = torch.cat([read.last_hidden_state[:, -1:].expand(len(codes), -1, -1), hidden], dim=1)
    logs = functional.log_softmax(hidden @ head, dim=-1)
    reached = torch.gather(logs, 2, torch.from_numpy(codes)[:, :, None])
    return np.asarray(reached.sum(dim=(1, 2)).double().numpy())
