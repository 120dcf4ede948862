"""Questions, ranks and figures on a catalogue that is small enough to sort by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.data import Benchmark
from benchmarks.methods.ranking import answer_gains, figures, questions, ranks
from rag_rec.evaluation.ranking import MISSED, ndcg
from tests.benchmarks.methods.conftest import ITEMS


def test_answers_are_hidden(ring: Benchmark) -> None:
    for hidden in (1, 2):
        asked = questions(ring, hidden, 1000)
        assert len(asked.asked) == sum(len(history) >= 4 for _, history in ring.histories)
        for user, answer in zip(asked.asked.tolist(), asked.answers.tolist(), strict=True):
            whole = ring.histories[user][1]["item"].tolist()
            assert asked.known[user]["item"].tolist() == whole[:-hidden]
            assert answer == whole[-hidden]
    assert np.array_equal(questions(ring, 1, 7).asked, questions(ring, 2, 7).asked)
    assert len(questions(ring, 1, 7).asked) == 7


def test_ranks_are_those_of_a_plain_sort(ring: Benchmark) -> None:
    asked = questions(ring, 1, 1000)
    scores = np.random.default_rng(0).integers(0, 4, size=(60, ITEMS)).astype(np.float64)  # many ties
    found = ranks(asked, lambda users: scores[users])
    for user, answer, rank in zip(asked.asked.tolist(), asked.answers.tolist(), found.tolist(), strict=True):
        open_items = [item for item in range(ITEMS) if item not in asked.known[user]["item"]]
        assert sorted(open_items, key=lambda item: (-scores[user, item], item)).index(answer) == rank


def test_figures() -> None:
    found = np.array([0, 2, 9, 10, 49, 60, 199, MISSED])
    row = figures(found, seed=0)
    assert row["ndcg@10"] == pytest.approx((1 + 1 / 2 + 1 / np.log2(11)) / 8, abs=1e-4)
    assert (row["hr@10"], row["hr@50"], row["recall@200"], row["users"]) == (3 / 8, 5 / 8, 7 / 8, 8)
    interval = row["ndcg@10 interval"]
    assert isinstance(interval, list)
    assert interval[0] < ndcg(found) < interval[1]


def test_the_gain_of_an_answer_is_that_of_its_place_among_what_is_not_known() -> None:
    scores, histories = np.array([[3.0, 2.0, 1.0, 0.0]] * 2), [np.array([0]), np.array([1, 2])]
    found = answer_gains(scores, histories, np.array([2, 0]))
    assert found == pytest.approx([1.0 / np.log2(3.0), 1.0])
    assert scores[0, 0] == 3.0
