from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from rag_rec.candidates import training
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.training import KnownProfiles, RerankerSettings, count_splits, fit_reranker, make_split
from rag_rec.events.history import History

People = list[tuple[int, History]]
Vectors = npt.NDArray[np.float32]
SMALL = RerankerSettings(examples=100, queries=60, coarse_queries=30, hidden=8, least_positives=3)


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "LEAST_EXAMPLES", 10)


def hit_rate(reranker: Reranker, people: People, vectors: Vectors) -> float:
    """How often the hidden last item is among the first three candidates."""
    split = make_split(people, vectors, 40, 1, SMALL)
    split.model.reranker = reranker
    hits = [example.answer in split.model.candidates(example.query, 3).items for example in split.examples]
    return float(np.mean(hits))


@pytest.mark.usefixtures("few_are_enough")
def test_a_fitted_reader_finds_what_comes_next(world: People, item_vectors: Vectors) -> None:
    told: list[float] = []
    before = [(user, history[:-1]) for user, history in world if len(history) > 3]
    people = [(user, history) for user, history in world if len(history) > 3]
    reranker = fit_reranker(before, item_vectors, 40, SMALL, told.append)
    assert reranker.examples > 10
    assert hit_rate(reranker, people, item_vectors) > 0.5
    assert told == sorted(told)
    assert all(0 <= share <= 1 for share in told)


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])
def test_the_same_arguments_give_the_same_reader(world: People, item_vectors: Vectors, dense: bool) -> None:
    settings = replace(SMALL, dense=dense, neighbours=True, networks=2)
    first, second = (fit_reranker(world, item_vectors, 40, settings) for _ in range(2))
    assert first.digest == second.digest
    assert (len(first.networks), first.neighbours) == (2, True)
    assert fit_reranker(world, item_vectors, 40, replace(settings, seed=1)).digest != first.digest


@pytest.mark.usefixtures("few_are_enough")
def test_a_linear_reader(world: People, item_vectors: Vectors) -> None:
    reranker = fit_reranker(world, item_vectors, 40, replace(SMALL, hidden=0))
    assert reranker.networks == ()
    assert reranker.fine_weights.any()


def test_too_few_people_get_the_built_in_reader(world: People, item_vectors: Vectors) -> None:
    assert fit_reranker(world, item_vectors, 40).digest == Reranker.default().digest
    assert fit_reranker([], item_vectors, 40).digest == Reranker.default().digest


def test_a_split_hides_its_answers(world: People, item_vectors: Vectors) -> None:
    for hidden in (1, 2, 3):
        split = make_split(world, item_vectors, 40, hidden, SMALL)
        shortened = 0
        for example in split.examples:
            assert example.query.user is not None
            history = world[example.query.user][1]
            assert example.query.positives["item"].tolist() == history["item"][:-hidden].tolist()
            assert example.answer == history["item"][-hidden]
            shortened += hidden
        total = int(split.model.statistics.popularity.total.sum())
        assert total == sum(len(history) for _, history in world) - shortened


def test_few_people_give_several_examples_each(world: People) -> None:
    settings = replace(SMALL, least_positives=1, queries=1000)
    assert count_splits(world, replace(settings, examples=60)) == 1
    assert count_splits(world, replace(settings, examples=61)) == 2
    assert count_splits(world, replace(settings, examples=10_000)) == settings.splits


def test_profiles_are_searched_best_first(world: People, item_vectors: Vectors) -> None:
    profiles = KnownProfiles([history for _, history in world], item_vectors)
    positions, scores = profiles.search(profiles.vectors[[4]], 7)
    expected = np.sort(profiles.vectors @ profiles.vectors[4])[::-1][:7]
    np.testing.assert_allclose(scores[0], expected, rtol=1e-6)
    assert 4 in positions[0]
    assert profiles.history(4) is world[4][1]
