"""Makes examples from people's own histories and fits the reranker on them.

The last positive of a history is hidden, statistics are counted without it, and the reranker learns to find it again;
then the same one position earlier. So no example has seen its own answer.

Some people may be kept out of the fit (:mod:`rag_rec.candidates.leakage`): their interactions are counted like
anybody's, but the reranker does not learn from their choices, so that what it remembers of the others can be measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.features import FINE
from rag_rec.candidates.fitting import COARSE_LINEAR, Choices, Progress, fit_linear, fit_network
from rag_rec.candidates.leakage import HeldOutPeople
from rag_rec.candidates.model import CLOSER_LOOK, CandidateModel
from rag_rec.candidates.query import Query
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.statistics import REGULARISATION, Statistics
from rag_rec.events.history import History
from rag_rec.vectors.profile import profile_vector

LEAST_EXAMPLES: Final = 200
"""With fewer examples than this the built-in reranker is used: a fitted one would be worse."""


@dataclass(frozen=True, slots=True)
class RerankerSettings:
    """How to fit a reranker.

    Attributes:
        examples: how many examples to aim for. Few people give enough only by several of their last positives.
        splits: at most so many of the last positives of a history serve as answers, one after the other.
        queries: most queries used of each split; a sample is drawn where there are more.
        coarse_queries: queries that the coarse step is fitted on.
        coarse_items: items that the coarse step compares in a query, drawn where there are more.
        least_positives: users with fewer positives than this give no example.
        hidden: width of a network; 0 for a linear reranker.
        networks: how many networks are averaged.
        neighbours: whether neighbours by profile vote. It costs a search, and helped on no benchmark set beyond noise.
        dense, regularisation: as in :meth:`Statistics.build`.
        seed: of every draw.
    """

    examples: int = 12_000
    splits: int = 4
    queries: int = 8000
    coarse_queries: int = 1000
    coarse_items: int = 4000
    least_positives: int = 5
    hidden: int = 64
    networks: int = 1
    neighbours: bool = False
    dense: bool = True
    regularisation: float = REGULARISATION
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """One question whose answer is known."""

    query: Query
    answer: int


@dataclass(frozen=True, slots=True)
class Split:
    """A model whose statistics lack the answers, and the questions."""

    model: CandidateModel
    examples: list[Example]


class KnownProfiles:
    """Profile vectors of the users in a list of histories, searched by brute force; numbers are positions in it."""

    def __init__(self, histories: Sequence[History], item_vectors: npt.NDArray[np.float32]) -> None:
        self.histories = histories
        self.vectors = np.zeros((len(histories), item_vectors.shape[1]), dtype=np.float32)
        for position, history in enumerate(histories):
            profile = profile_vector(item_vectors[history["item"]])
            if profile is not None:
                self.vectors[position] = profile

    def search(self, queries: npt.NDArray[np.float32], k: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Positions and scores of the ``k`` nearest to each query, best first."""
        scores = queries @ self.vectors.T
        nearest = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        order = np.lexsort((nearest, -np.take_along_axis(scores, nearest, axis=1)))
        nearest = np.take_along_axis(nearest, order, axis=1)
        return nearest, np.take_along_axis(scores, nearest, axis=1)

    def history(self, position: int) -> History:
        """The history at a position."""
        return self.histories[position]


def fit_reranker(  # noqa: PLR0913 - the data, how, and who is kept out
    histories: Sequence[tuple[int, History]],
    item_vectors: npt.NDArray[np.float32],
    n_items: int,
    settings: RerankerSettings | None = None,
    progress: Progress | None = None,
    user_id: Callable[[int], str] | None = None,
) -> Reranker:
    """Fit a reranker on positive histories; the built-in one where there are too few.

    Args:
        histories: (user number, positive history) of everybody.
        item_vectors: unit item vectors, float32 [n_items, d].
        n_items: size of the catalogue.
        settings: how to fit.
        progress: is told the finished share, from 0 to 1.
        user_id: the caller's id of a user number. Given, some people are kept out of the fit, and what an attack tells
            of the others is measured (:class:`rag_rec.candidates.leakage.HeldOutPeople`).

    Returns:
        The same reranker for the same arguments on the same machine.
    """
    settings = settings or RerankerSettings()
    able = _able(histories, settings)
    if able < LEAST_EXAMPLES:
        return Reranker.default()
    numbers = [number for number, _ in histories]
    apart = HeldOutPeople.choose(min(able, settings.queries), numbers, user_id, settings.seed)
    steps = _Steps(progress, count_splits(histories, settings))
    reranker, choices = gather(histories, item_vectors, n_items, settings, steps.collecting, apart)
    learned = apart.learned(choices)
    if learned.sum() < LEAST_EXAMPLES:  # so few answers passed the coarse step that there is nothing to learn
        return Reranker.default()
    everything = choices if learned.all() else choices.part(learned)
    fitted = fit_fine(reranker, everything, settings, steps.fitting)
    return replace(fitted, membership=apart.attack(fitted, choices) if user_id else None)


def count_splits(histories: Sequence[tuple[int, History]], settings: RerankerSettings) -> int:
    """How many splits give about as many examples as the settings aim for."""
    able = max(1, min(_able(histories, settings), settings.queries))
    return min(settings.splits, -(-settings.examples // able))


def gather(  # noqa: PLR0913 - the data, how, and who is kept out
    histories: Sequence[tuple[int, History]],
    item_vectors: npt.NDArray[np.float32],
    n_items: int,
    settings: RerankerSettings,
    step: Callable[[int], Progress] | None = None,
    apart: HeldOutPeople | None = None,
) -> tuple[Reranker, Choices]:
    """A reranker whose coarse step is fitted, and the examples for its fine step.

    ``step(split)`` gives what is told the progress of one split. The coarse step is fitted without the people who are
    kept ``apart``; their choices are among the examples.
    """
    reranker, parts = Reranker.default(), []
    for hidden in range(1, count_splits(histories, settings) + 1):
        split = make_split(histories, item_vectors, n_items, hidden, settings)
        if hidden == 1:
            reranker = replace(fit_coarse(_learned(split, apart), settings), neighbours=settings.neighbours)
        split.model.reranker = reranker
        parts.append(fine_choices(split, step and step(hidden - 1)))
        del split  # its statistics are large, and the next ones are about to be counted
    return reranker, join(parts)


def _learned(split: Split, apart: HeldOutPeople | None) -> Split:
    """A split without the examples of people who are kept out of the fit."""
    if apart is None:
        return split
    kept = [example for example in split.examples if example.query.user is None or not apart.holds(example.query.user)]
    return Split(split.model, kept)


def _able(histories: Sequence[tuple[int, History]], settings: RerankerSettings) -> int:
    return sum(len(history) >= settings.least_positives for _, history in histories)


class _Steps:
    """Turns the progress of a step into that of the whole: examples take six tenths of the time, fitting the rest."""

    def __init__(self, progress: Progress | None, splits: int) -> None:
        self._tell: Progress = progress or (lambda _: None)
        self._splits = splits

    def collecting(self, split: int) -> Progress:
        return lambda share: self._tell(0.6 * (split + share) / self._splits)

    def fitting(self, network: int, networks: int) -> Progress:
        return lambda share: self._tell(0.6 + 0.4 * (network + share) / networks)


def make_split(
    histories: Sequence[tuple[int, History]],
    item_vectors: npt.NDArray[np.float32],
    n_items: int,
    hidden: int,
    settings: RerankerSettings,
) -> Split:
    """Hide the last ``hidden`` positives of every history that is long enough; ask for the first of these.

    Queries are a sample of at most ``settings.queries``. Their user number is the position in ``histories``.
    """
    asked = [len(history) >= max(settings.least_positives, hidden + 1) for _, history in histories]
    known = [history[:-hidden] if ask else history for (_, history), ask in zip(histories, asked, strict=True)]
    statistics = Statistics.build(
        enumerate(known), n_items, dense=settings.dense, regularisation=settings.regularisation
    )
    profiles = KnownProfiles(known, item_vectors) if settings.neighbours else None
    neighbour_history = profiles.history if profiles else None
    model = CandidateModel(statistics, lambda: item_vectors, profiles, neighbour_history, Reranker.default())
    positions = np.random.default_rng([settings.seed, hidden]).permutation(np.flatnonzero(asked))[: settings.queries]
    return Split(model, [_example(known, histories, profiles, hidden, user) for user in positions.tolist()])


def _example(
    known: Sequence[History],
    histories: Sequence[tuple[int, History]],
    profiles: KnownProfiles | None,
    hidden: int,
    user: int,
) -> Example:
    rest = known[user]
    profile = profiles.vectors[user] if profiles else None
    query = Query(rest, rest["item"], None, profile, user, int(rest["time"][-1]))
    return Example(query, int(histories[user][1]["item"][-hidden]))


def fit_coarse(split: Split, settings: RerankerSettings) -> Reranker:
    """The built-in reranker with its coarse step fitted."""
    model, generator = split.model, np.random.default_rng(settings.seed)
    n_items = model.statistics.n_items
    features, chosen, valid = [], [], []
    for example in split.examples[: settings.coarse_queries]:
        others = np.delete(np.arange(n_items), example.answer)
        if len(others) >= settings.coarse_items:
            others = generator.choice(others, settings.coarse_items - 1, replace=False)
        items = np.append(others, example.answer)
        features.append(model.features().view(example.query).coarse[items])
        valid.append(~np.isin(items, example.query.seen))
        chosen.append(len(items) - 1)
    choices = Choices(np.array(features, dtype=np.float32), np.array(chosen), np.array(valid))
    standard = choices.standard()
    weights = fit_linear(choices.standardised(standard), settings.seed, COARSE_LINEAR)
    return replace(Reranker.default(), coarse_standard=standard, coarse_weights=weights)


def fine_choices(split: Split, progress: Progress | None = None) -> Choices:
    """Fine features of the items that pass the coarse step, for the queries whose answer is among them."""
    features = np.zeros((len(split.examples), CLOSER_LOOK, len(FINE)), dtype=np.float32)
    valid = np.zeros(features.shape[:2], dtype=np.bool_)
    chosen = np.full(len(features), -1)
    for row, example in enumerate(split.examples):
        compared = split.model.compare(example.query)
        features[row, : len(compared.items)] = compared.fine
        valid[row, : len(compared.items)] = True
        found = np.flatnonzero(compared.items == example.answer)
        chosen[row] = found[0] if len(found) else -1
        if progress and row % 64 == 0:
            progress(row / len(features))
    kept = chosen >= 0
    people = np.array([example.query.user for example in split.examples], dtype=np.int64)
    return Choices(features[kept], chosen[kept], valid[kept], people[kept])


def join(parts: Sequence[Choices]) -> Choices:
    """All choices of several splits."""
    return Choices(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.chosen for part in parts]),
        np.concatenate([part.valid for part in parts]),
        np.concatenate([part.people for part in parts]),
    )


def fit_fine(
    reranker: Reranker, choices: Choices, settings: RerankerSettings, step: Callable[[int, int], Progress] | None = None
) -> Reranker:
    """The reranker with its fine step fitted, linear or with networks.

    ``step(network, networks)`` gives what is told the progress of one network.
    """
    standard = choices.standard()
    scaled = choices.standardised(standard)
    reranker = replace(reranker, fine_standard=standard, examples=len(choices), neighbours=settings.neighbours)
    if not settings.hidden:
        return replace(reranker, fine_weights=fit_linear(scaled, settings.seed), networks=())
    fitted = [
        fit_network(scaled, settings.hidden, settings.seed + number, progress=step and step(number, settings.networks))
        for number in range(settings.networks)
    ]
    weights = np.asarray(np.mean([linear for linear, _ in fitted], axis=0), dtype=np.float32)
    return replace(reranker, fine_weights=weights, networks=tuple(network for _, network in fitted))
