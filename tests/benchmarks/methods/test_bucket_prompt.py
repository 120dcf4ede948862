from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.methods.bucket_prompt import (
    BOS,
    CHOSEN,
    FIRST_PLACE,
    BucketPrompts,
    BucketReader,
    BucketSettings,
    crossed_scores,
)
from benchmarks.methods.candidate_lists import CandidateLists, FittedLists
from rag_rec.candidates.features import FINE
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.training import RerankerSettings

SETTINGS = BucketSettings(
    candidates=5, sources=("likes 15",), buckets=4, width=16, layers=1, heads=2, epochs=12, rate=5e-3, dropout=0.0
)
TELLING = FINE.index("likes 15")
Floats = npt.NDArray[np.float64]


def lists_of(users: int, seed: int) -> tuple[CandidateLists, Floats]:
    """Lists of seven in which one source tells the answer, and the reranker's scores tell nothing."""
    draws = np.random.default_rng(seed)
    features = np.zeros((users, 7, len(FINE)), dtype=np.float32)
    features[:, :, TELLING] = draws.normal(size=(users, 7))
    items = np.tile(np.arange(7), (users, 1))
    answers = features[:, :, TELLING].argmax(axis=1)
    scores = np.sort(draws.normal(size=(users, 7)), axis=1)[:, ::-1]
    return CandidateLists(np.arange(users), items, features, answers), scores


def test_a_prompt_is_written_line_by_line() -> None:
    lists, scores = lists_of(40, seed=0)
    best, cut = lists.best(scores, 5)
    prompts = BucketPrompts.of(best, cut, SETTINGS)
    written = prompts.write(best, cut)
    assert written.shape == (40, 1 + 5 * SETTINGS.line)
    first = FIRST_PLACE + 5
    for row, tokens in enumerate(written.tolist()):
        assert tokens[0] == BOS
        for place in range(5):
            score, likes = cut[row, place], best.features[row, place, TELLING]
            edges = [
                sum(value > edge for edge in line) for value, line in zip((score, likes), prompts.edges, strict=True)
            ]
            line = tokens[1 + place * SETTINGS.line :][: SETTINGS.line]
            assert line == [FIRST_PLACE + place, first + edges[0], first + 4 + edges[1], CHOSEN]
    assert written.max() < SETTINGS.tokens


def test_buckets_hold_equally_many() -> None:
    lists, scores = lists_of(200, seed=0)
    best, cut = lists.best(scores, 5)
    tokens = BucketPrompts.of(best, cut, SETTINGS).write(best, cut)
    counts = np.unique_counts(tokens[:, 2 :: SETTINGS.line]).counts
    assert len(counts) == 4
    assert counts.max() - counts.min() <= 2


@pytest.fixture(scope="module")
def reranker() -> BucketReader:
    """Learned from lists whose order tells nothing."""
    lists, scores = lists_of(400, seed=1)
    fitted = FittedLists(Reranker.default(), [lists], np.ones(400, dtype=np.bool_))
    return BucketReader.train(fitted, *lists.best(scores, 5), SETTINGS)


def test_what_shows_of_a_person_comes_from_a_reader_of_others() -> None:
    lists, _ = lists_of(60, seed=1)
    fitted = FittedLists(Reranker.default(), [lists], np.ones(60, dtype=np.bool_))
    settings = RerankerSettings(hidden=0)
    before = crossed_scores(fitted, lists, settings)
    changed = lists.part(np.arange(60))
    changed.answers[lists.users % 2 == 1] = 0
    after = crossed_scores(fitted, changed, settings)
    even = lists.users % 2 == 0
    assert not np.allclose(before[even], after[even])
    assert np.array_equal(before[~even], after[~even])


def test_it_learns_to_read_the_source_that_tells(reranker: BucketReader) -> None:
    lists, scores = lists_of(100, seed=2)
    best, cut = lists.best(scores, 5)
    found = reranker.log_probabilities(best, cut)
    assert np.allclose(np.exp(found).sum(axis=1), 1.0)
    known = best.answers >= 0
    hits = found.argmax(axis=1)[known] == best.answers[known]
    assert hits.mean() > 0.6  # the best of a bucket is one of several


def test_candidates_after_one_do_not_change_its_score(reranker: BucketReader) -> None:
    lists, scores = lists_of(4, seed=3)
    best, cut = lists.best(scores, 5)
    changed = CandidateLists(best.users, best.items, best.features.copy(), best.answers)
    changed.features[:, 4, TELLING] += 9.0
    before, after = (reranker.log_probabilities(each, cut) for each in (best, changed))
    assert np.allclose(before[:, 0] - before[:, 3], after[:, 0] - after[:, 3], atol=1e-5)
    assert not np.allclose(before, after)


def test_a_missing_candidate_gets_nothing(reranker: BucketReader) -> None:
    lists, scores = lists_of(4, seed=3)
    best, cut = lists.best(scores, 5)
    best.items[:, 4] = -1
    assert np.isneginf(reranker.log_probabilities(best, cut)[:, 4]).all()
