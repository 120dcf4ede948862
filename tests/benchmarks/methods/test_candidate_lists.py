from __future__ import annotations

import numpy as np
import pytest

from benchmarks.data import Benchmark
from benchmarks.methods.candidate_lists import NONE, FittedLists, asked_lists, fit_lists
from benchmarks.methods.ranking import questions
from rag_rec.candidates.model import CandidateModel
from rag_rec.candidates.query import Query
from rag_rec.candidates.training import RerankerSettings, fit_reranker
from tests.benchmarks.methods.conftest import history_of

ITEMS = 14
SETTINGS = RerankerSettings(examples=400, splits=2, least_positives=4, hidden=4, regularisation=10.0)


@pytest.fixture(scope="module")
def ring() -> Benchmark:
    """People who walk along a ring."""
    histories = [
        (user, history_of(user, [(3 * user + step) % ITEMS for step in range(5 + user % 4)])) for user in range(220)
    ]
    return Benchmark("ring", histories, [f"item {item}" for item in range(ITEMS)], least=4)


@pytest.fixture(scope="module")
def vectors() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    drawn = np.random.default_rng(0).normal(size=(ITEMS, 8)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def fitted(ring: Benchmark, vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> FittedLists:
    return fit_lists(ring.histories, vectors, ITEMS, SETTINGS, np.ones(220, dtype=np.bool_))


def test_with_everybody_the_reader_is_the_product_s(
    ring: Benchmark, vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]], fitted: FittedLists
) -> None:
    product = fit_reranker(ring.histories, vectors, ITEMS, SETTINGS)
    assert np.array_equal(fitted.reranker.coarse_weights, product.coarse_weights)
    assert np.allclose(fitted.reranker.fine_weights, product.fine_weights)


def test_order_is_the_candidate_model_s(
    ring: Benchmark, vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]], fitted: FittedLists
) -> None:
    asked = questions(ring, 1, 30)
    lists = asked_lists(asked, vectors, fitted.reranker, SETTINGS)
    best, scores = lists.best(lists.scores(fitted.reranker), 5)
    statistics = asked.statistics(dense=True, regularisation=10.0)
    model = CandidateModel(statistics, lambda: vectors, None, None, fitted.reranker)
    for row, user in enumerate(asked.asked.tolist()):
        known = asked.known[user]
        expected = model.candidates(Query(known, known["item"], None, None, user, int(known["time"][-1])), 5)
        assert best.items[row].tolist() == expected.items.tolist()
        assert np.allclose(scores[row], expected.scores)
        place = best.answers[row]
        assert (place == NONE and asked.answers[row] not in best.items[row]) or best.items[row, place] == asked.answers[
            row
        ]


def test_only_members_are_learned_from_but_everybody_is_listed(
    ring: Benchmark, vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> None:
    members = np.arange(220) < 110
    halved = fit_lists(ring.histories, vectors, ITEMS, SETTINGS, members)
    assert halved.splits[0].users.max() > 110
    assert halved.examples().users.max() < 110
    assert halved.reranker.examples == len(halved.examples().choices())


def test_an_answer_outside_the_list_is_the_least_likely(fitted: FittedLists) -> None:
    lists = fitted.splits[0]
    scores = lists.scores(fitted.reranker)
    assert np.allclose(np.exp(scores).sum(axis=1), 1.0)
    lost = lists.part(np.arange(3))
    lost.answers[:] = [0, NONE, 1]
    reached = lost.log_probability(scores[:3])
    assert reached.tolist()[::2] == [scores[0, 0], scores[2, 1]]
    assert reached[1] < min(reached[0], reached[2])
