"""What a state recommends to a user without an LLM: the candidates, and for each evidence strategy what supports them.

The same steps as in :mod:`rag_rec.recommend.pipeline`, for the comparison of two states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rag_rec.candidates.gram_inverse import GramInverse
from rag_rec.candidates.model import SCORE_DECIMALS, CandidateModel
from rag_rec.candidates.statistics import Statistics
from rag_rec.domain import Reason, Strategy, User
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.pipeline import context_of, question
from rag_rec.recommend.prompting import PromptWriter
from rag_rec.recommend.reasons import cite
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store

CITING: Final = 10
"""For so many items, the first ones, the reasons are looked at."""


@dataclass(frozen=True, slots=True)
class RankedList:
    """Item numbers best first, their scores to nine decimals, their sources, and what is cited for the first ones."""

    items: tuple[int, ...]
    scores: tuple[float, ...]
    sources: tuple[tuple[str, ...], ...]
    evidence: tuple[int, ...]
    reasons: tuple[tuple[Reason, ...], ...]

    def distance(self, other: RankedList) -> float:
        """The largest difference of the scores at one place."""
        return max((abs(mine - theirs) for mine, theirs in zip(self.scores, other.scores, strict=False)), default=0.0)


def ranked_lists(
    live: ServingState, store: Store, settings: Settings, user: int | None, model: CandidateModel | None = None
) -> dict[Strategy, RankedList]:
    """A user's list under every strategy; ``user`` None is a stranger, ``model`` None the state's own."""
    context = context_of(live, User(""), user)
    found = (model or live.model).candidates(question(live, context), settings.candidates)
    writer = PromptWriter(live, store, settings)
    lists = {}
    for strategy in Strategy:
        chosen = writer.choose(context, found, strategy, None)
        lists[strategy] = RankedList(
            items=tuple(found.items.tolist()),
            scores=tuple(found.scores.round(SCORE_DECIMALS).tolist()),
            sources=tuple(found.sources),
            evidence=tuple(chosen.history["interaction"].tolist()),
            reasons=tuple(map(_rounded, cite(live, found.items[:CITING], chosen.memory, chosen.rows))),
        )
    return lists


def model_with_inverse(live: ServingState, inverse: GramInverse) -> CandidateModel:
    """The candidate model of a state, reading another P of the same counts instead of its own."""
    own = live.statistics
    statistics = Statistics(own.together, dict(own.transitions), own.popularity, own.sequences, inverse)
    people, reranker = live.people, live.model.reranker
    return CandidateModel(
        statistics, live.items.vectors, people.profiles, lambda user: live.positives(people.history(user)), reranker
    )


def _rounded(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    return tuple(Reason(each.item_id, each.event, each.time, round(each.weight, SCORE_DECIMALS)) for each in reasons)
