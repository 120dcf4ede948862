"""Leave-one-out questions, the rank of each answer over the full catalogue, and the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse

from benchmarks.data import Benchmark
from rag_rec.candidates.statistics import REGULARISATION, Statistics
from rag_rec.evaluation import bootstrap
from rag_rec.evaluation.ranking import Ranks, gains, ndcg
from rag_rec.events.history import History

Floats = npt.NDArray[np.floating]
Scores = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
CHUNK = 256


@dataclass(frozen=True, slots=True)
class Questions:
    """Everybody's known history, and whom to ask for the item that comes next.

    Attributes:
        known: known histories of all users, whether asked or not, without any answer.
        asked: positions in ``known`` of the users who are asked.
        answers: item number of each answer, [asked].
        n_items: size of the catalogue.
    """

    known: list[History]
    asked: npt.NDArray[np.int64]
    answers: npt.NDArray[np.int64]
    n_items: int

    def statistics(self, *, dense: bool, regularisation: float = REGULARISATION) -> Statistics:
        """What is known, counted."""
        return Statistics.build(enumerate(self.known), self.n_items, dense=dense, regularisation=regularisation)

    def matrix(self, life: float = np.inf, last: int | None = None) -> scipy.sparse.csr_array:
        """Known items by user, the newest with weight 1, halved every ``life`` items; only the ``last`` ones."""
        taken = [history["item"][-last:] if last else history["item"] for history in self.known]
        weights = [0.5 ** (np.arange(len(items) - 1, -1, -1) / life) for items in taken]
        starts = np.cumsum([0, *map(len, taken)])
        shape = (len(taken), self.n_items)
        return scipy.sparse.csr_array((np.concatenate(weights), np.concatenate(taken), starts), shape=shape)


def questions(benchmark: Benchmark, hidden: int, limit: int) -> Questions:
    """Hide the last ``hidden`` positives of users who have enough; ask for the first of these.

    Where there are more than ``limit`` users, a sample of them is asked: the same for every ``hidden``.
    """
    histories = benchmark.histories
    long = np.array([len(history) >= benchmark.least for _, history in histories])
    known = [history[:-hidden] if enough else history for (_, history), enough in zip(histories, long, strict=True)]
    asked = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(long))[:limit])
    answers = np.array([histories[user][1]["item"][-hidden] for user in asked.tolist()], dtype=np.int64)
    return Questions(known, asked, answers, benchmark.n_items)


def ranks(questions: Questions, score: Callable[[npt.NDArray[np.int64]], Floats]) -> Ranks:
    """Rank (0 is best) of each answer among all items but those already known; ties go by item number.

    ``score`` gives the scores of all items for some users, [users, n_items].
    """
    found = []
    for users, answers in _chunks(questions):
        scores = np.array(score(users), dtype=np.float64)
        for row, user in enumerate(users.tolist()):
            scores[row, questions.known[user]["item"]] = -np.inf
        reached = scores[np.arange(len(users)), answers][:, None]
        before = np.arange(questions.n_items) < answers[:, None]
        found.append(((scores > reached) | ((scores == reached) & before)).sum(axis=1))
    return np.concatenate(found)


def figures(found: Ranks, seed: int) -> dict[str, object]:
    """NDCG and hit rates of ranks, with a 95 % bootstrap interval over users for NDCG@10."""
    hits = {f"hr@{k}": round(float((found < k).mean()), 4) for k in (10, 50)}
    return {
        "ndcg@10": round(ndcg(found), 4),
        "ndcg@10 interval": interval(gains(found), seed),
        **hits,
        "recall@200": round(float((found < 200).mean()), 4),
        "users": len(found),
    }


def interval(values: Floats, seed: int) -> list[float]:
    """Bounds of the 95 % bootstrap interval over users of the mean of their values, to four decimals."""
    return [round(bound, 4) for bound in bootstrap.interval(values, seed)]


def _chunks(questions: Questions) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    for start in range(0, len(questions.asked), CHUNK):
        yield questions.asked[start : start + CHUNK], questions.answers[start : start + CHUNK]


def without_known(scores: Scores, histories: Sequence[Items]) -> Scores:
    """The scores of every item, float64 [people, items], with what each history holds last."""
    rest = scores.copy()
    for row, items in zip(rest, histories, strict=True):
        row[items] = -np.inf
    return rest


def answer_gains(scores: Scores, histories: Sequence[Items], answers: Items) -> Scores:
    """NDCG@10 of each person's answer over the catalogue without what the history holds, float64 [people]."""
    rest = without_known(scores, histories)
    reached = np.take_along_axis(rest, answers[:, None], axis=1)
    return gains((rest > reached).sum(axis=1))
