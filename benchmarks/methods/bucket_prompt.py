"""A language model that reads what the statistics know: every candidate is written as a few bucket tokens.

The prompt is ``<bos>``, then for each candidate, best first, a token for its place, one for the bucket of the
reranker's score, one for the bucket of each source's score, and ``<chosen>``. The score of a candidate is the logit of
its ``<chosen>`` before that token, so all scores come from one forward pass and nothing is generated. No item and no
person has a token: the parameters can only learn how to read scores. They are trained with a softmax over lists whose
statistics lack the answer, as the reranker is (:mod:`rag_rec.candidates.fitting`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.methods.candidate_lists import CandidateLists, FittedLists
from rag_rec.candidates.features import FINE
from rag_rec.candidates.training import RerankerSettings, fit_fine

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
BOS, CHOSEN, FIRST_PLACE = range(3)
READ: Final = 128
"""Prompts read at a time."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """How prompts are written and how the model is trained.

    Attributes:
        candidates: in a prompt.
        sources: fine features that show, besides the reranker's score.
        buckets: of each score, with equally many candidates in each.
        width, layers, heads: of the model.
        epochs, batch, rate, dropout, decay: of the training; the rate falls along a cosine.
        seed: of every draw.
    """

    candidates: int = 50
    sources: tuple[str, ...] = ("followed 5", "likes 15")
    buckets: int = 16
    width: int = 64
    layers: int = 2
    heads: int = 4
    epochs: int = 3
    batch: int = 32
    rate: float = 1e-3
    dropout: float = 0.2
    decay: float = 0.1
    seed: int = 0

    @property
    def line(self) -> int:
        """Tokens of a candidate: place, reranker's score, sources' scores, ``<chosen>``."""
        return 3 + len(self.sources)

    @property
    def tokens(self) -> int:
        """Size of the vocabulary."""
        return FIRST_PLACE + self.candidates + (1 + len(self.sources)) * self.buckets


@dataclass(frozen=True, slots=True)
class BucketPrompts:
    """Writes prompts; ``edges`` float64 [1 + sources, buckets - 1] are those between the buckets of each score."""

    edges: Floats
    settings: BucketSettings

    @classmethod
    def of(cls, lists: CandidateLists, scores: Floats, settings: BucketSettings) -> Self:
        """With edges at the quantiles of these lists' candidates."""
        shares = np.linspace(0, 1, settings.buckets + 1)[1:-1]
        shown = _shown(lists, scores, settings)[lists.items >= 0]
        return cls(np.quantile(shown, shares, axis=0).T, settings)

    def write(self, lists: CandidateLists, scores: Floats) -> Integers:
        """Token rows int64 [q, 1 + candidates * line] of lists that are cut to the best candidates, in order."""
        shown = _shown(lists, scores, self.settings)
        lines = np.full((*shown.shape[:2], self.settings.line), CHOSEN)
        lines[:, :, 0] = FIRST_PLACE + np.arange(shown.shape[1])
        first = FIRST_PLACE + self.settings.candidates
        for score, edges in enumerate(self.edges):
            buckets = np.searchsorted(edges, shown[:, :, score])
            lines[:, :, 1 + score] = first + score * self.settings.buckets + buckets
        tokens = lines.reshape(len(lines), -1)
        return np.concatenate([np.full((len(tokens), 1), BOS), tokens], axis=1)


@dataclass(frozen=True)
class BucketReader:
    """A trained model and how its prompts are written."""

    model: LlamaForCausalLM
    prompts: BucketPrompts
    fitted: FittedLists

    @classmethod
    def fit(cls, fitted: FittedLists, reranker: RerankerSettings, settings: BucketSettings) -> Self:
        """Train on the lists of the members whose answer is among the best candidates.

        The reranker's scores that show in them are those of a reranker fitted on other people: on its own examples it
        looks better than it is.
        """
        examples = fitted.examples()
        return cls.train(
            fitted, *examples.best(crossed_scores(fitted, examples, reranker), settings.candidates), settings
        )

    @classmethod
    def train(cls, fitted: FittedLists, lists: CandidateLists, scores: Floats, settings: BucketSettings) -> Self:
        """Train on lists cut to the best candidates, and the scores that they show."""
        found = lists.answers >= 0
        lists, scores = lists.part(found), scores[found]
        prompts = BucketPrompts.of(lists, scores, settings)
        model = _train(torch.from_numpy(prompts.write(lists, scores)), torch.from_numpy(lists.answers), settings)
        return cls(model, prompts, fitted)

    @property
    def parameters(self) -> int:
        """Numbers learned from people, besides the reranker's."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @torch.no_grad()
    def log_probabilities(self, lists: CandidateLists, scores: Floats) -> Floats:
        """Of each candidate, float64 [q, c], for lists cut to the best candidates, in order."""
        tokens = torch.from_numpy(self.prompts.write(lists, scores))
        read = [_scores(self.model, part, self.prompts.settings) for part in torch.split(tokens, READ)]
        logits = torch.cat(read).double().masked_fill(torch.from_numpy(lists.items < 0), -torch.inf)
        return np.asarray(functional.log_softmax(logits, dim=-1).numpy())

    def answers(self, lists: CandidateLists) -> Floats:
        """Log-probability of the answer of each list, float64 [q]; see :meth:`CandidateLists.log_probability`."""
        best, scores = lists.best(lists.scores(self.fitted.reranker), self.prompts.settings.candidates)
        return best.log_probability(self.log_probabilities(best, scores))


def crossed_scores(fitted: FittedLists, lists: CandidateLists, settings: RerankerSettings) -> Floats:
    """Scores float64 [q, c] of each list by a reranker that was fitted on the other half of the people."""
    even = lists.users % 2 == 0
    scores = np.zeros(lists.items.shape)
    for judged in (even, ~even):
        reranker = fit_fine(fitted.reranker, lists.part(~judged).choices(), settings)
        scores[judged] = lists.part(judged).scores(reranker)
    return scores


def _shown(lists: CandidateLists, scores: Floats, settings: BucketSettings) -> Floats:
    columns = [FINE.index(source) for source in settings.sources]
    return np.concatenate([scores[:, :, None], lists.features[:, :, columns]], axis=2)


def _model(settings: BucketSettings) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=settings.tokens,
        hidden_size=settings.width,
        intermediate_size=2 * settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=1 + settings.candidates * settings.line,
        attention_dropout=settings.dropout,
        bos_token_id=BOS,
        eos_token_id=BOS,
        pad_token_id=BOS,
    )
    return LlamaForCausalLM(config)


def _scores(model: LlamaForCausalLM, tokens: Tensor, settings: BucketSettings) -> Tensor:
    """Logits of ``<chosen>`` [q, c]. The last token of all is that of the last candidate, and need not be read."""
    embedded = model.model.embed_tokens(tokens[:, :-1])
    embedded = functional.dropout(embedded, settings.dropout, model.training)
    hidden = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    logits: Tensor = hidden[:, settings.line - 1 :: settings.line] @ model.lm_head.weight[CHOSEN]
    return logits


def _train(tokens: Tensor, answers: Tensor, settings: BucketSettings) -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = _model(settings)
        nn.Module.train(model)
        optimiser = torch.optim.AdamW(model.parameters(), settings.rate, weight_decay=settings.decay)
        steps = settings.epochs * math.ceil(len(tokens) / settings.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for rows in _batches(len(tokens), settings):
            loss = functional.cross_entropy(_scores(model, tokens[rows], settings), answers[rows])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    nn.Module.train(model, False)
    return model


def _batches(count: int, settings: BucketSettings) -> Iterator[Tensor]:
    draws = np.random.default_rng(settings.seed)
    for _ in range(settings.epochs):
        yield from torch.split(torch.from_numpy(draws.permutation(count)), settings.batch)
