"""Reads what the compact generator says of whole histories, and of what comes after them.

Histories are written as a training writes them (:class:`rag_rec.compact.sequences.TokenSequence`). Probabilities are
among the items of the catalogue; tokens of attributes, and rows that are spare, have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

from rag_rec.compact.sequences import Tokens, TokenSequence
from rag_rec.compact.vocabulary import PAD, Vocabulary
from rag_rec.evaluation.ranking import gains

Floats = npt.NDArray[np.float64]
ROWS = 64
"""Histories read at a time."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a model says of every item of a history.

    Attributes:
        logs: log-probability, float64 [items of the history].
        gains: NDCG@10 in the list of the likeliest items at that place, float64 [items of the history].
    """

    logs: Floats
    gains: Floats


def choices(
    model: LlamaForCausalLM, vocabulary: Vocabulary, people: Sequence[TokenSequence], context: int
) -> list[Choices]:
    """What is said of every item of each history.

    Histories are read in windows of at most ``context`` items, each with the prefix and the item before it, as a
    training reads them.
    """
    windows = [(place, window) for place, person in enumerate(people) for window in _windows(person, context)]
    found: dict[int, Floats] = {}
    for rows, tokens in _padded([np.concatenate(parts) for _, parts in windows]):
        for row, values in zip(rows.tolist(), _tokens_said(model, vocabulary, tokens), strict=True):
            before, items = windows[row][1]
            found[row] = values[len(before) - 1 : len(before) - 1 + len(items)]
    parts: list[list[Floats]] = [[np.zeros((0, 2))] for _ in people]
    for row, (place, _) in enumerate(windows):
        parts[place].append(found[row])
    whole = [np.concatenate(each) for each in parts]
    return [Choices(each[:, 0], gains(each[:, 1].astype(np.int64))) for each in whole]


def likelihoods(
    model: LlamaForCausalLM, vocabulary: Vocabulary, people: Sequence[TokenSequence], context: int
) -> Floats:
    """Mean log-probability per item of whole histories, float64 [histories]; 0 for one without an item."""
    found = choices(model, vocabulary, people, context)
    return np.array([each.logs.sum() / max(1, len(each.logs)) for each in found])


def after(
    model: LlamaForCausalLM, vocabulary: Vocabulary, people: Sequence[TokenSequence], context: int
) -> tuple[Floats, Floats]:
    """Log-probability of every item after each history, float64 [histories, items], and the last hidden states that it
    was read from, float64 [histories, width]: one forward pass for each, over the newest ``context`` items."""
    logs = np.zeros((len(people), len(vocabulary.items)))
    states = np.zeros((len(people), model.config.hidden_size))
    for rows, tokens in _padded([np.concatenate([each.prefix, each.items[-context:]]) for each in people]):
        logs[rows], states[rows] = _last(model, vocabulary, tokens, (tokens != PAD).sum(dim=1) - 1)
    return logs, states


def _windows(person: TokenSequence, context: int) -> Iterator[tuple[Tokens, Tokens]]:
    """What is read but not counted, and the items of the window."""
    for start in range(0, len(person.items), context):
        before = person.items[max(0, start - 1) : start]
        yield np.concatenate([person.prefix, before]), person.items[start : start + context]


def _padded(written: Sequence[Tokens]) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """Rows of about equal length together: their places, and their tokens, padded on the right."""
    order = np.argsort([len(tokens) for tokens in written], kind="stable")
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        tokens = np.full((len(rows), max(len(written[row]) for row in rows)), PAD)
        for line, row in zip(tokens, rows, strict=True):
            line[: len(written[row])] = written[row]
        yield rows, torch.from_numpy(tokens)


@torch.no_grad()
def _last(model: LlamaForCausalLM, vocabulary: Vocabulary, tokens: Tensor, places: Tensor) -> tuple[Floats, Floats]:
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[torch.arange(len(tokens)), places]
    head = model.lm_head.weight[vocabulary.first_item : vocabulary.first_spare]
    return functional.log_softmax(hidden @ head.T, dim=-1).double().numpy(), hidden.double().numpy()


@torch.no_grad()
def _tokens_said(model: LlamaForCausalLM, vocabulary: Vocabulary, tokens: Tensor) -> Floats:
    """Log-probability and rank of every token after the first, [rows, length - 1, 2]; one that is no item counts as
    the first item."""
    hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
    head = model.lm_head.weight[vocabulary.first_item : vocabulary.first_spare]
    logs = functional.log_softmax(hidden @ head.T, dim=-1)
    targets = (tokens[:, 1:] - vocabulary.first_item).clamp(min=0)
    own = torch.gather(logs, 2, targets[:, :, None])
    ahead = (logs > own).sum(dim=2)
    return np.stack([own[:, :, 0].double().numpy(), ahead.double().numpy()], axis=2)
