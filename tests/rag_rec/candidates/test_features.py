from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from rag_rec.candidates.features import COARSE, DECIMALS, FINE, Features, half_life
from rag_rec.candidates.lagged_pairs import LAG_UNIT
from rag_rec.candidates.query import Query
from rag_rec.candidates.statistics import Statistics
from rag_rec.events.history import History

People = list[tuple[int, History]]
Vectors = npt.NDArray[np.float32]
both = pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])


def query_of(history: History) -> Query:
    return Query(history, history["item"], None, None, None, int(history["time"][-1]))


def column(features: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    return features[:, FINE.index(name)]


@pytest.fixture(params=[True, False], ids=["dense", "sparse"])
def features(request: pytest.FixtureRequest, world: People, item_vectors: Vectors) -> Features:
    return Features(Statistics.build(world, 40, dense=request.param), item_vectors)


def test_shapes_and_rounding(features: Features, world: People) -> None:
    for _, history in world[:10]:
        view = features.view(query_of(history))
        items = np.array([3, 1, 39])
        fine = features.fine(view, items, [])
        assert view.coarse.shape == (40, len(COARSE))
        assert fine.shape == (3, len(FINE))
        assert np.isfinite(view.coarse).all()
        assert np.isfinite(fine).all()
        assert np.array_equal(fine, np.round(fine, DECIMALS))
        assert np.array_equal(fine[:, : len(COARSE)], view.coarse[items])


def test_transitions_agree_with_plain_loops(features: Features, world: People) -> None:
    history = max((history for _, history in world), key=len)
    view, items = features.view(query_of(history)), np.arange(40)
    fine = features.fine(view, items, [])
    followed, after = np.zeros((40, 40)), np.zeros((40, 40))
    popularity = np.zeros(40)
    for _, other in world:
        chosen = other["item"].tolist()
        for earlier, first in enumerate(chosen):
            popularity[first] += 1
            for later in range(earlier + 1, min(len(chosen), earlier + 11)):
                followed[first, chosen[later]] += 1.0 / (later - earlier)
                after[first, chosen[later]] += 1
    liked = history["item"].tolist()
    for name, life, matrix in (
        ("followed 1.5", 1.5, followed),
        ("followed 20", 20, followed),
        ("preceded 5", 5, followed.T),
        ("after 10", 10, after),
        ("before 10", 10, after.T),
    ):
        score = np.zeros(40)
        for age, item in enumerate(reversed(liked)):
            score += 0.5 ** (age / life) / (popularity[item] + 20) * matrix[item]
        np.testing.assert_allclose(column(fine, name), np.log(score + 1e-4), atol=2e-6, err_msg=name)
    assert LAG_UNIT == 2520
    np.testing.assert_allclose(column(fine, "popularity"), np.log(popularity + 1), atol=1e-6)


def test_ease_agrees_with_the_explicit_matrix(world: People, item_vectors: Vectors) -> None:
    statistics = Statistics.build(world, 40, dense=True, regularisation=5.0)
    history = world[0][1]
    view = Features(statistics, item_vectors).view(query_of(history))
    chosen = np.zeros((len(world), 40))
    for row, (_, other) in enumerate(world):
        chosen[row, other["item"]] = 1.0
    inverse = np.linalg.inv(chosen.T @ chosen + 5.0 * np.eye(40))
    weights = np.eye(40) - inverse / np.diag(inverse)
    query = np.zeros(40)
    query[history["item"]] = half_life(len(history), 5.0)
    unseen = np.setdiff1d(np.arange(40), history["item"])
    np.testing.assert_allclose(view.coarse[unseen, list(COARSE).index("likes 5")], (query @ weights)[unseen], atol=2e-6)


def test_sparse_likes_are_cosine_item_neighbours(world: People, item_vectors: Vectors) -> None:
    view = Features(Statistics.build(world, 40, dense=False), item_vectors).view(query_of(world[0][1]))
    sets = [set(history["item"].tolist()) for _, history in world]
    count = [sum(item in chosen for chosen in sets) for item in range(40)]
    for item in set(range(40)) - sets[0]:
        score = sum(
            sum({item, other} <= chosen for chosen in sets) / np.sqrt((count[item] + 10) * (count[other] + 10))
            for other in sets[0]
        )
        assert view.coarse[item, list(COARSE).index("likes all")] == pytest.approx(score, abs=2e-6)


def test_content_and_neighbours(features: Features, world: People, item_vectors: Vectors) -> None:
    history = world[0][1]
    items = np.arange(40)
    view = features.view(query_of(history))
    fine = features.fine(view, items, [world[1][1], world[2][1], world[1][1]])
    last = history["item"][-1]
    np.testing.assert_allclose(column(fine, "content 1"), item_vectors @ item_vectors[last], atol=1e-6)
    votes = np.zeros(40)
    for position in (1, 2, 1):
        votes[world[position][1]["item"]] += 1
    np.testing.assert_allclose(column(fine, "neighbours"), np.log(votes + 1), atol=1e-6)
    assert not column(features.fine(view, items, []), "neighbours").any()


def test_vectors_may_lag_behind_the_statistics(features: Features, item_vectors: Vectors) -> None:
    features.statistics.grow(45)
    assert Features(features.statistics, item_vectors).n_items == 40
