"""The methods that ours is compared with, each a function of known histories and a few settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.sparse
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking

from benchmarks.methods.ranking import Floats, Questions, ranks
from rag_rec.candidates.counts import Entries
from rag_rec.candidates.lagged_pairs import LAG_UNIT
from rag_rec.candidates.statistics import Statistics
from rag_rec.evaluation.ranking import Ranks, ndcg

Score = Callable[[npt.NDArray[np.int64]], Floats]
Settings = Mapping[str, Any]
LAST: Final = 100  # items of a history that recency-weighted methods look at


@dataclass(frozen=True, slots=True)
class Known:
    """Questions with what several methods need: exact counts. ``threads`` is for matrix factorisation."""

    questions: Questions
    statistics: Statistics
    threads: int
    seed: int

    @classmethod
    def of(cls, questions: Questions, threads: int, seed: int) -> Known:
        """Count without P: each lambda needs its own."""
        return cls(questions, questions.statistics(dense=False), threads, seed)

    @property
    def together(self) -> scipy.sparse.csr_array:
        """G, without its diagonal."""
        rows, columns, values = self.statistics.together.entries()
        off = rows != columns
        return _csr((rows[off], columns[off], values[off]), self.questions.n_items)


@dataclass(frozen=True, slots=True)
class Method:
    """A name, settings to choose from on validation, and how to score."""

    name: str
    score: Callable[..., Score]
    grid: Mapping[str, Sequence[Any]]

    def tune(self, known: Known) -> Settings:
        """The settings with the best NDCG@10 on these questions."""
        tried = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        if len(tried) == 1:
            return tried[0]
        reached = [ndcg(self.ranks(known, settings)) for settings in tried]
        return tried[int(np.argmax(reached))]

    def ranks(self, known: Known, settings: Settings) -> Ranks:
        """Ranks of the answers with given settings."""
        return ranks(known.questions, self.score(known, **settings))


def popularity(known: Known) -> Score:
    """The same order for everybody: how often an item was chosen."""
    total = known.statistics.popularity.total.astype(np.float64)
    return lambda users: np.tile(total, (len(users), 1))


def item_knn(known: Known, shrink: float, nearest: int) -> Score:
    """Cosine of co-occurrence with shrinkage, the ``nearest`` neighbours of each item."""
    count = known.statistics.popularity.total.astype(np.float64)
    pairs = known.together.tocoo()
    first, second = pairs.coords
    cosine = pairs.data / (np.sqrt(count[first] * count[second]) + shrink)
    order = np.lexsort((second, -cosine, first))
    starts = np.searchsorted(first[order], first[order])  # where each entry's row begins
    kept = order[np.arange(len(order)) - starts < nearest]
    similarity = _csr((first[kept], second[kept], cosine[kept]), known.questions.n_items)
    return _linear(known.questions.matrix(), scipy.sparse.csr_array(similarity.T))


def ease(known: Known, regularisation: float, life: float) -> Score:
    """EASE (Steck 2019), its query weighted by recency; half-life infinity is plain EASE."""
    gram = known.together.toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] = known.statistics.popularity.total + regularisation
    inverse = np.linalg.inv(gram)
    weights = -inverse / np.diag(inverse)
    weights[np.diag_indices_from(weights)] = 0.0
    last = None if np.isinf(life) else LAST
    return _linear(known.questions.matrix(life, last), weights.astype(np.float32))


def transitions(known: Known, life: float, shrink: float) -> Score:
    """Lagged transition counts divided by popularity, read from the last items on."""
    counts = _csr(known.statistics.transitions["followed"].entries(), known.questions.n_items)
    share = 1.0 / (known.statistics.popularity.total + shrink) / LAG_UNIT
    return _linear(known.questions.matrix(life, LAST), scipy.sparse.csr_array(scipy.sparse.diags_array(share) @ counts))


def als(known: Known, factors: int, regularization: float, alpha: float) -> Score:
    """Implicit alternating least squares (Hu, Koren & Volinsky, ICDM 2008)."""
    model = AlternatingLeastSquares(
        factors=factors,
        regularization=regularization,
        alpha=alpha,
        iterations=15,
        num_threads=known.threads,
        random_state=known.seed,
    )
    return _factors(model, known)


def bpr(known: Known, factors: int, learning_rate: float, regularization: float) -> Score:
    """Bayesian personalised ranking (Rendle et al., UAI 2009)."""
    model = BayesianPersonalizedRanking(
        factors=factors,
        learning_rate=learning_rate,
        regularization=regularization,
        iterations=100,
        num_threads=known.threads,
        random_state=known.seed,
    )
    return _factors(model, known)


DENSE: Final = ("EASE", "recency EASE")
"""Methods that invert a matrix of the catalogue's size."""

METHODS: Final = (
    Method("popularity", popularity, {}),
    Method("ItemKNN", item_knn, {"shrink": (0.0, 20.0, 100.0), "nearest": (50, 200, 1000)}),
    Method("EASE", ease, {"regularisation": (50.0, 200.0, 500.0, 1000.0), "life": (np.inf,)}),
    Method("recency EASE", ease, {"regularisation": (50.0, 200.0, 500.0), "life": (2.0, 5.0, 10.0)}),
    Method("transitions", transitions, {"life": (1.0, 1.5, 3.0, 5.0), "shrink": (1.0, 20.0)}),
    Method("implicit ALS", als, {"factors": (64, 128), "regularization": (0.01,), "alpha": (1.0, 10.0)}),
    Method("implicit BPR", bpr, {"factors": (64, 128), "learning_rate": (0.02, 0.05), "regularization": (0.01,)}),
)


def _factors(model: Any, known: Known) -> Score:
    chosen = scipy.sparse.csr_matrix(known.questions.matrix().astype(np.float32))
    model.fit(chosen, show_progress=False)
    return lambda users: np.asarray(model.user_factors[users] @ model.item_factors.T)


def _linear(queries: scipy.sparse.csr_array, weights: scipy.sparse.csr_array | npt.NDArray[np.float32]) -> Score:
    def score(users: npt.NDArray[np.int64]) -> Floats:
        scores = queries[users] @ weights
        return np.asarray(scores.toarray() if scipy.sparse.issparse(scores) else scores)

    return score


def _csr(entries: Entries | tuple[Any, Any, Any], size: int) -> scipy.sparse.csr_array:
    rows, columns, values = entries
    return scipy.sparse.csr_array((values.astype(np.float64), (rows, columns)), shape=(size, size))
