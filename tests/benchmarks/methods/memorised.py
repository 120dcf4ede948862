"""A tiny base, and people whose choices follow no rule: all that can be learned of them is who they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.data import Benchmark
from benchmarks.methods.candidate_lists import FittedLists
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.validation import Validation
from rag_rec.candidates.reranker import Reranker
from rag_rec.compact.base import Base, BaseSettings, initial_model
from rag_rec.compact.projection import TextProjection
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.domain import Item
from rag_rec.events.history import HISTORY_DTYPE, History

ITEMS, PEOPLE, WIDTH = 30, 120, 16
BY_HEART = AdapterSettings(epochs=60, rate=1e-2, dropout=0.0, batch=16, context=8)


def a_base() -> Base:
    vocabulary = Vocabulary.of([Item(str(number), "") for number in range(ITEMS)])
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 24)).astype(np.float32)
    projection = TextProjection.of(vectors, WIDTH)
    settings = BaseSettings(width=WIDTH, layers=1, heads=2)
    no_attributes = np.empty((0, WIDTH), dtype=np.float32)
    model = initial_model(vocabulary, no_attributes, projection.rows(vectors), settings)
    model.train(False)
    return Base(model, vocabulary, projection)


def a_benchmark() -> Benchmark:
    draws = np.random.default_rng(1)
    histories = [(user, _history(user, draws.permutation(ITEMS)[: 9 + user % 4])) for user in range(PEOPLE)]
    return Benchmark("memorised", histories, [f"item {number}" for number in range(ITEMS)], least=5)


def a_case(kept: Path) -> Case:
    """Sixty members, of whom twenty are to go, and four trainings without them."""
    return Case(a_benchmark(), a_base(), 20, 4, 0, BY_HEART, kept)


def a_validation(case: Case) -> Validation:
    """The candidates of its people, by the reranker that was fitted on no person."""
    vectors = np.random.default_rng(0).normal(size=(case.benchmark.n_items, 24)).astype(np.float32)
    made = Validation(case.benchmark, vectors)
    made.__dict__["fitted"] = FittedLists(Reranker.default(), [], np.ones(len(case.histories), dtype=np.bool_))
    return made


def _history(user: int, items: np.ndarray[tuple[int], np.dtype[np.int64]]) -> History:
    history = np.zeros(len(items), dtype=HISTORY_DTYPE)
    history["item"], history["interaction"] = items, 100 * user + np.arange(len(items))
    return history
