from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag_rec.candidates import model as module
from rag_rec.candidates.features import FINE
from rag_rec.candidates.model import CandidateModel
from rag_rec.candidates.query import CandidateList, Query
from rag_rec.candidates.reranker import Network, Reranker, Weights
from rag_rec.candidates.statistics import Statistics
from rag_rec.candidates.training import KnownProfiles
from rag_rec.events.history import HISTORY_DTYPE, History, empty_history

People = list[tuple[int, History]]
Vectors = npt.NDArray[np.float32]
ITEMS = 40
NOTHING: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
both = pytest.mark.parametrize("dense", [True, False], ids=["dense", "sparse"])


def reranker_with_network() -> Reranker:
    generator = np.random.default_rng(3)

    def draw(*shape: int) -> Weights:
        return (0.3 * generator.normal(size=shape)).astype(np.float32)

    return replace(Reranker.default(), networks=(Network(draw(len(FINE), 8), draw(8), draw(8, 8), draw(8), draw(8)),))


def vectors_of(count: int) -> Vectors:
    vectors = np.random.default_rng(1).normal(size=(count, 8))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def model_of(people: People, *, dense: bool = True, reranker: Reranker | None = None) -> CandidateModel:
    vectors = vectors_of(ITEMS)
    statistics = Statistics.build(people, ITEMS, dense=dense)
    return CandidateModel(statistics, lambda: vectors, None, None, reranker or reranker_with_network())


def query_of(history: History, user: int | None = None) -> Query:
    time = int(history["time"][-1]) if len(history) else None
    return Query(history, history["item"], None, None, user, time)


def same(first: CandidateList, second: CandidateList) -> bool:
    return (
        np.array_equal(first.items, second.items)
        and np.array_equal(np.round(first.scores, 9), np.round(second.scores, 9))
        and first.sources == second.sources
    )


def history_of(user: int, items: list[int]) -> History:
    history = np.zeros(len(items), dtype=HISTORY_DTYPE)
    history["item"] = items
    history["interaction"] = 100 * user + np.arange(len(items))
    history["time"] = (40 * np.arange(len(items)) + user) * 24 * 3600 * 1000
    return history


def check_list(found: CandidateList, n: int) -> None:
    assert len(found) == len(found.items) == len(found.scores) == len(found.sources) <= n
    assert found.items.dtype == np.int32
    assert found.scores.dtype == np.float64
    assert len(set(found.items.tolist())) == len(found)
    order = [(-round(score, 9), item) for score, item in zip(found.scores.tolist(), found.items.tolist(), strict=True)]
    assert order == sorted(order)
    assert all(1 <= len(sources) <= 3 for sources in found.sources)


@both
@given(
    people=st.dictionaries(
        st.integers(0, 8), st.lists(st.integers(0, ITEMS - 1), unique=True, min_size=1), min_size=2, max_size=8
    ),
    later=st.lists(st.tuples(st.integers(0, 8), st.integers(0, ITEMS - 1)), max_size=6),
    gone=st.integers(0, 8),
)
@settings(max_examples=40)
def test_after_a_forget_everybody_else_gets_what_they_would_have_got(
    dense: bool, people: dict[int, list[int]], later: list[tuple[int, int]], gone: int
) -> None:
    model = model_of([(user, history_of(user, items)) for user, items in people.items()], dense=dense)
    for user, item in later:
        if item not in people.get(user, []):
            grown = [*people.get(user, []), item]
            model.statistics.replace(history_of(user, people.get(user, [])), history_of(user, grown))
            people[user] = grown
    model.statistics.forget(history_of(gone, people.pop(gone, [])))
    model.statistics.flush()
    twin = model_of([(user, history_of(user, items)) for user, items in people.items()], dense=dense)
    for user, items in people.items():
        query = query_of(history_of(user, items), user)
        assert same(model.candidates(query, 20), twin.candidates(query, 20))
    nobody = replace(query_of(empty_history()), reference_time=10**12)
    assert same(model.candidates(nobody, 20), twin.candidates(nobody, 20))


@both
def test_a_list_is_ordered_and_leaves_out_what_was_seen(world: People, dense: bool) -> None:
    model = model_of(world, dense=dense)
    for user, history in world[:20]:
        found = model.candidates(query_of(history, user), 10)
        check_list(found, 10)
        assert len(found) == 10
        assert not np.isin(found.items, history["item"]).any()
        assert same(found, model.candidates(query_of(history, user), 10))
    whole = model.candidates(query_of(history), ITEMS)
    assert np.exp(whole.scores).sum() == pytest.approx(1.0)
    assert len(whole) == ITEMS - len(history)


def test_filters_may_leave_few_or_none(world: People) -> None:
    model, history = model_of(world), world[0][1]
    allowed = np.zeros(ITEMS, dtype=np.bool_)
    query = replace(query_of(history), allowed=allowed)
    assert len(model.candidates(query, 10)) == 0
    unseen = np.setdiff1d(np.arange(ITEMS), history["item"])[:3]
    allowed[unseen] = True
    found = model.candidates(query, 10)
    check_list(found, 10)
    assert sorted(found.items.tolist()) == unseen.tolist()
    assert len(model.candidates(replace(query, positives=empty_history(), allowed=allowed[:0]), 5)) == 0


def test_somebody_without_positives_gets_what_is_popular(world: People) -> None:
    model = model_of(world)
    popularity = model.statistics.popularity
    for time in (int(world[-1][1]["time"][-1]), None):
        found = model.candidates(Query(empty_history(), np.array([3]), None, None, None, time), 15)
        check_list(found, 15)
        assert 3 not in found.items
        recent = popularity.recent(time, module.RECENT_PERIODS)
        expected = sorted(set(range(ITEMS)) - {3}, key=lambda item: (-recent[item], -popularity.total[item], item))
        assert found.items.tolist() == expected[:15]
        assert set(found.sources) == {("popularity",)}


def test_an_empty_system_answers_in_order_of_items() -> None:
    model = model_of([])
    found = model.candidates(Query(empty_history(), NOTHING, None, None, None, None), 4)
    assert found.items.tolist() == [0, 1, 2, 3]
    empty = CandidateModel(Statistics.build([], 0, dense=True), lambda: vectors_of(0), None, None, Reranker.default())
    assert len(empty.candidates(Query(empty_history(), NOTHING, None, None, None, None), 4)) == 0


@both
def test_a_new_item_is_reached_through_its_text(world: People, dense: bool) -> None:
    vectors = vectors_of(ITEMS)
    statistics = Statistics.build(world, ITEMS, dense=dense)
    model = CandidateModel(statistics, lambda: vectors, None, None, Reranker.default())
    history = world[0][1]
    assert ITEMS not in model.candidates(query_of(history), 200).items
    wanted = vectors[history["item"][-5:]].mean(axis=0)
    vectors = np.concatenate([vectors, (wanted / np.linalg.norm(wanted))[None, :]]).astype(np.float32)
    statistics.grow(ITEMS + 1)
    found = model.candidates(query_of(history), 200)
    place = found.items.tolist().index(ITEMS)
    assert "content" in found.sources[place]
    assert ITEMS in model.candidates(replace(query_of(history), positives=empty_history()), 200).items


def test_vectors_that_lag_behind_hide_an_item(world: People) -> None:
    model = model_of(world)
    model.statistics.grow(ITEMS + 5)
    model.statistics.replace(empty_history(), history_of(900, [ITEMS + 2, 3]))
    found = model.candidates(query_of(history_of(900, [ITEMS + 2, 3])), 100)
    assert found.items.max() < ITEMS
    assert len(model.candidates(query_of(history_of(900, [ITEMS + 2])), 100)) == ITEMS


def test_equal_scores_go_by_item_number(world: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSER_LOOK", 12)
    reranker = Reranker.default()
    silent = replace(reranker, coarse_weights=0 * reranker.coarse_weights, fine_weights=0 * reranker.fine_weights)
    history = world[0][1]
    unseen = np.setdiff1d(np.arange(ITEMS), history["item"])
    found = model_of(world, reranker=silent).candidates(query_of(history), 10)
    assert found.items.tolist() == unseen[:10].tolist()


def test_neighbours_are_asked_only_by_a_reader_that_knows_them(world: People) -> None:
    vectors = vectors_of(ITEMS)
    profiles = KnownProfiles([history for _, history in world], vectors)
    asked: list[int] = []

    def history_of_neighbour(user: int) -> History:
        asked.append(user)
        return profiles.history(user)

    reranker = Reranker.default()
    weights = reranker.fine_weights.copy()
    weights[FINE.index("neighbours")] = 50.0
    statistics = Statistics.build(world, ITEMS, dense=True)
    model = CandidateModel(statistics, lambda: vectors, profiles, history_of_neighbour, reranker)
    query = replace(query_of(world[0][1], user=0), profile=profiles.vectors[0])
    plain = model.candidates(query, 10)
    assert asked == []
    model.reranker = replace(reranker, fine_weights=weights, neighbours=True)
    moved = model.candidates(query, 10)
    assert 0 not in asked
    assert len(asked) == module.NEIGHBOURS
    assert not same(plain, moved)
    asked.clear()
    model.candidates(replace(query, profile=None), 10)
    assert asked == []


def test_readers_and_a_writer_at_the_same_time(world: People) -> None:
    model = model_of(world)
    done, failures = threading.Event(), []

    def ask() -> None:
        try:
            while not done.is_set():
                for user, history in world[:5]:
                    check_list(model.candidates(query_of(history, user), 10), 10)
        except BaseException as failure:
            failures.append(failure)

    rerankers = [threading.Thread(target=ask) for _ in range(3)]
    for reranker in rerankers:
        reranker.start()
    for round_ in range(60):
        _, history = world[20 + round_ % 30]
        model.statistics.forget(history)
        model.statistics.replace(empty_history(), history[: len(history) // 2])
        model.statistics.replace(history[: len(history) // 2], history)
        if round_ % 10 == 0:
            model.statistics.grow(model.statistics.n_items + 1)
    done.set()
    for reranker in rerankers:
        reranker.join()
    assert failures == []
    twin = Statistics.build(world, model.statistics.n_items, dense=True)
    assert model.statistics.equal(twin)
