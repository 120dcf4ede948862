from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.data import Benchmark
from benchmarks.methods.baselines import METHODS, Known
from benchmarks.methods.ranking import Questions, figures, questions, ranks
from rag_rec.evaluation.ranking import MISSED, ndcg
from rag_rec.events.history import HISTORY_DTYPE, History

ITEMS = 12


def history_of(user: int, items: list[int]) -> History:
    history = np.zeros(len(items), dtype=HISTORY_DTYPE)
    history["item"], history["interaction"] = items, 100 * user + np.arange(len(items))
    return history


@pytest.fixture(scope="module")
def ring() -> Benchmark:
    """Everybody walks along a ring, so that what comes next is known."""
    histories = [
        (user, history_of(user, [(user + step) % ITEMS for step in range(2 + user % 6)])) for user in range(60)
    ]
    return Benchmark("ring", histories, [f"item {item}" for item in range(ITEMS)], least=4)


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


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.filterwarnings("ignore:OpenBLAS is configured:RuntimeWarning")
def test_every_method_learns_and_is_tuned(ring: Benchmark, method: object) -> None:
    chosen = next(each for each in METHODS if each is method)
    validation, test = (Known.of(questions(ring, hidden, 1000), threads=1, seed=0) for hidden in (2, 1))
    small = {name: values[:2] for name, values in chosen.grid.items()}
    settings = type(chosen)(chosen.name, chosen.score, small).tune(validation)
    assert set(settings) == set(chosen.grid)
    found = chosen.ranks(test, settings)
    assert len(found) == len(test.questions.asked)
    if chosen.name == "transitions":
        assert ndcg(found) > 0.9
    if chosen.name == "EASE":
        assert np.array_equal(found, ranks(test.questions, _explicit_ease(test.questions, settings["regularisation"])))


def _explicit_ease(asked: Questions, regularisation: float):  # type: ignore[no-untyped-def]
    chosen = np.zeros((len(asked.known), ITEMS))
    for user, history in enumerate(asked.known):
        chosen[user, history["item"]] = 1.0
    inverse = np.linalg.inv(chosen.T @ chosen + regularisation * np.eye(ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)

    def score(users: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.asarray(chosen[users] @ weights.astype(np.float32))

    return score
