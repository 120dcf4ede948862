"""Trains the compact generator on chosen people, and reads what it says of items and of whole histories."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from benchmarks.data import Benchmark
from rag_rec.compact import reading
from rag_rec.compact.adapter import Deltas, factor, merged, trained_weights
from rag_rec.compact.base import Base, BaseSettings, build_base
from rag_rec.compact.reading import Choices
from rag_rec.compact.sequences import TokenSequence, Windows
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.compact.vocabulary import BOS, PAD, Vocabulary
from rag_rec.domain import Item
from rag_rec.settings import Settings
from rag_rec.vectors.embedding import open_embedder
from rag_rec.vectors.protocol import Vectors

Floats = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
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
        return merged(self.base.model, self.deltas)


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
    """See :func:`rag_rec.compact.reading.after`; histories are item numbers of people without a profile."""
    return reading.after(model, vocabulary, _written(vocabulary, histories), context)


def likelihoods(model: LlamaForCausalLM, vocabulary: Vocabulary, histories: Sequence[Items], context: int) -> Floats:
    """See :func:`rag_rec.compact.reading.likelihoods`; histories as for :func:`after`."""
    return reading.likelihoods(model, vocabulary, _written(vocabulary, histories), context)


def choices(model: LlamaForCausalLM, vocabulary: Vocabulary, histories: Sequence[Items], context: int) -> list[Choices]:
    """See :func:`rag_rec.compact.reading.choices`; histories as for :func:`after`."""
    return reading.choices(model, vocabulary, _written(vocabulary, histories), context)


def _written(vocabulary: Vocabulary, histories: Sequence[Items]) -> list[TokenSequence]:
    return [TokenSequence(np.array([BOS]), vocabulary.first_item + items) for items in histories]


def _product(delta: Tensor, rank: int) -> Tensor:
    a, b = factor(delta, rank)
    return b @ a
