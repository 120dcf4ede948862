"""Trains the compact generator on chosen people, and reads what it says of items and of whole histories."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

from benchmarks.data import Benchmark
from rag_rec.compact.adapter import Deltas, factor, trained_weights
from rag_rec.compact.base import Base, BaseSettings, build_base
from rag_rec.compact.sequences import TokenSequence, Windows
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.compact.vocabulary import BOS, PAD, Vocabulary
from rag_rec.domain import Item
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Vectors

Floats = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
ROWS = 64
"""Histories read at a time."""
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Bases:
    """Bases of one benchmark's catalogue, each built when first asked for; there is no person in any of them."""

    benchmark: Benchmark
    vectors: Vectors

    @cache  # noqa: B019 - lives as long as the run
    def of(self, width: int, layers: int) -> Base:
        """A base of this architecture, with heads of 32 each."""
        settings = BaseSettings(width=width, layers=layers, heads=width // 32)
        return catalogue_base(self.benchmark, self.vectors, settings)


def catalogue_base(benchmark: Benchmark, vectors: Vectors, settings: BaseSettings) -> Base:
    """A base of a benchmark's catalogue; items have their numbers for ids."""
    items = [Item(str(number), text) for number, text in enumerate(benchmark.texts)]
    embedder = open_embedder(Settings().embedding_model, 1)
    return build_base(items, vectors, Vocabulary.of(items), embedder, settings)


@dataclass(frozen=True, slots=True)
class Trained:
    """An adapter as differences to its base, and the seconds of processor time that it took."""

    base: Base
    deltas: Deltas
    seconds: float

    def truncated(self, rank: int | None) -> Trained:
        """The best approximation of this rank; None leaves it whole."""
        if rank is None:
            return self
        return replace(self, deltas={name: _product(delta, rank) for name, delta in self.deltas.items()})

    def parameters(self, rank: int) -> int:
        """Numbers in the adapter on the disk at this rank; a matrix that was not trained has none."""
        return sum(rank * sum(delta.shape) for delta in self.deltas.values() if bool(delta.any()))

    def model(self) -> LlamaForCausalLM:
        """Base and adapter merged."""
        model = copy.deepcopy(self.base.model)
        with torch.no_grad():
            for name, weight in trained_weights(model).items():
                weight.add_(self.deltas[name])
        return model


def train(
    base: Base,
    histories: Sequence[Items],
    settings: AdapterSettings,
    frozen: Sequence[str] = (),
    told: Callable[[int, float], None] = lambda *_: None,
) -> Trained:
    """Train an adapter on these histories.

    Args:
        base: what it is trained on; it stays as it is.
        histories: item numbers, oldest first.
        settings: how.
        frozen: modules that get no difference.
        told: hears after each epoch how many are finished, and the loss.
    """
    started = time.process_time()
    model = copy.deepcopy(base.model)
    first = base.vocabulary.first_item
    people = [TokenSequence(np.array([BOS]), first + items) for items in histories if len(items)]
    windows = Windows(people, settings.context, settings.batch, PAD, settings.seed)
    training = AdapterTraining(model, windows, base.vocabulary.first_spare, settings, CPU)
    for name, weight in trained_weights(model).items():
        if name.removesuffix(".weight").rpartition(".")[2] in frozen:
            weight.register_hook(torch.zeros_like)  # type: ignore[no-untyped-call]
    for _ in range(settings.epochs):
        loss = training.epoch(lambda _: None)
        told(training.finished, loss)
    return Trained(base, training.deltas(), time.process_time() - started)


def untrained(base: Base) -> Trained:
    """No adapter at all."""
    zeros = {name: torch.zeros_like(weight) for name, weight in trained_weights(base.model).items()}
    return Trained(base, zeros, 0.0)


def next_items(model: LlamaForCausalLM, vocabulary: Vocabulary, histories: Sequence[Items], context: int) -> Floats:
    """Log-probability of every item after each history, float64 [histories, items], from one forward pass each."""
    return after(model, vocabulary, histories, context)[0]


def after(
    model: LlamaForCausalLM, vocabulary: Vocabulary, histories: Sequence[Items], context: int
) -> tuple[Floats, Floats]:
    """As :func:`next_items`, and the last hidden states that this was read from, float64 [histories, width]."""
    logs = np.zeros((len(histories), len(vocabulary.items)))
    states = np.zeros((len(histories), model.config.hidden_size))
    for rows, tokens in _padded([items[-context:] for items in histories], vocabulary):
        logs[rows], states[rows] = _last(model, vocabulary, tokens, (tokens != PAD).sum(dim=1) - 1)
    return logs, states


def likelihoods(model: LlamaForCausalLM, vocabulary: Vocabulary, histories: Sequence[Items], context: int) -> Floats:
    """Mean log-probability per item of whole histories, float64 [histories], read in windows as training does."""
    found = choices(model, vocabulary, histories, context)
    return np.array([each.sum() / max(1, len(each)) for each in found])


def choices(model: LlamaForCausalLM, vocabulary: Vocabulary, histories: Sequence[Items], context: int) -> list[Floats]:
    """Log-probability of every item of each history, float64 [items of the history], read as :func:`likelihoods`."""
    windows = [(place, part) for place, items in enumerate(histories) for part in _windows(items, context)]
    found: dict[int, Floats] = {}
    for rows, tokens in _padded([np.append(before, part) for _, (before, part) in windows], vocabulary):
        logs = _token_log_probabilities(model, vocabulary, tokens)
        for row, values in zip(rows.tolist(), logs, strict=True):
            before, part = windows[row][1]
            found[row] = values[len(before) : len(before) + len(part)]
    parts: list[list[Floats]] = [[] for _ in histories]
    for row, (place, _) in enumerate(windows):
        parts[place].append(found[row])
    return [np.concatenate([np.zeros(0), *each]) for each in parts]


def _windows(items: Items, context: int) -> Iterator[tuple[Items, Items]]:
    """Windows, and the item before each, which is read but not counted; see :class:`Windows`."""
    for start in range(0, len(items), context):
        yield items[max(0, start - 1) : start], items[start : start + context]


def _padded(histories: Sequence[Items], vocabulary: Vocabulary) -> Iterator[tuple[Items, Tensor]]:
    """Histories of about equal length together: their places, and token rows that begin with ``<bos>``."""
    order = np.argsort([len(items) for items in histories], kind="stable")
    for start in range(0, len(order), ROWS):
        rows = order[start : start + ROWS]
        tokens = np.full((len(rows), 1 + max(len(histories[row]) for row in rows)), PAD)
        tokens[:, 0] = BOS
        for line, row in zip(tokens, rows, strict=True):
            line[1 : 1 + len(histories[row])] = vocabulary.first_item + histories[row]
        yield rows, torch.from_numpy(tokens)


@torch.no_grad()
def _last(model: LlamaForCausalLM, vocabulary: Vocabulary, tokens: Tensor, places: Tensor) -> tuple[Floats, Floats]:
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state[torch.arange(len(tokens)), places]
    head = model.lm_head.weight[vocabulary.first_item : vocabulary.first_spare]
    return functional.log_softmax(hidden @ head.T, dim=-1).double().numpy(), hidden.double().numpy()


@torch.no_grad()
def _token_log_probabilities(model: LlamaForCausalLM, vocabulary: Vocabulary, tokens: Tensor) -> Floats:
    """Of every token after the first, among the items, [rows, length - 1]; padding counts as the first item."""
    hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
    head = model.lm_head.weight[vocabulary.first_item : vocabulary.first_spare]
    logs = functional.log_softmax(hidden @ head.T, dim=-1)
    targets = (tokens[:, 1:] - vocabulary.first_item).clamp(min=0)
    return np.asarray(torch.gather(logs, 2, targets[:, :, None])[:, :, 0].double().numpy())


def _product(delta: Tensor, rank: int) -> Tensor:
    a, b = factor(delta, rank)
    return b @ a
