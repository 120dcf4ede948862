"""Every method that ours is compared with learns what can be learned."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.data import Benchmark
from benchmarks.methods.baselines import METHODS, Known, Score
from benchmarks.methods.ranking import Questions, questions, ranks
from rag_rec.evaluation.ranking import ndcg
from tests.benchmarks.methods.conftest import ITEMS


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


def _explicit_ease(asked: Questions, regularisation: float) -> Score:
    chosen = np.zeros((len(asked.known), ITEMS))
    for user, history in enumerate(asked.known):
        chosen[user, history["item"]] = 1.0
    inverse = np.linalg.inv(chosen.T @ chosen + regularisation * np.eye(ITEMS))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)

    def score(users: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.asarray(chosen[users] @ weights.astype(np.float32))

    return score
