"""What a generator is shown: evidence chosen from the user's own history, and the candidates, put into a prompt.

The service and the gate ask in the same way: what is measured is what is served.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rag_rec.candidates.query import CandidateList
from rag_rec.domain import Candidate, Strategy, User
from rag_rec.events.history import History
from rag_rec.evidence import strategy as evidence_strategy
from rag_rec.generators.protocol import EvidenceCost, EvidenceLine, Prompt
from rag_rec.index.serving_state import ServingState
from rag_rec.recommend.evidence_pool import EvidencePool, evidence_pool
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.vectors.protocol import Vectors


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of the person who asks, at one epoch. ``number`` is None for a stranger.

    ``vectors`` float32 [n, d] are those of the rows of ``history``; ``positives`` is the positive part of it.
    """

    user: User
    number: int | None
    history: History
    positives: History
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class SelectedEvidence:
    """What evidence was chosen from, and the ``rows`` of it that were chosen, ascending."""

    memory: EvidencePool
    rows: npt.NDArray[np.int64]

    @property
    def history(self) -> History:
        """The chosen interactions."""
        return self.memory.history[self.rows]

    @property
    def tokens(self) -> int:
        """What they cost."""
        return int(self.memory.rows.tokens[self.rows].sum())


class PromptWriter:
    """Chooses evidence and writes prompts from one live state."""

    def __init__(self, live: ServingState, store: Store, settings: Settings) -> None:
        self._live = live
        self._store = store
        self._settings = settings

    def choose(
        self, context: Context, found: CandidateList, strategy: Strategy, cost: EvidenceCost | None
    ) -> SelectedEvidence:
        """The interactions of the user that a prompt may show.

        ``cost`` None charges for their texts, under the budget of the settings.
        """
        live, rule = self._live, self._settings.positive_rule
        line, budget = (None, self._settings.evidence_tokens) if cost is None else (cost.line, cost.budget)
        memory = evidence_pool(live, context.history, context.vectors, rule, line)
        rows = evidence_strategy(strategy).select(memory.rows, live.items.vectors()[found.items], budget)
        return SelectedEvidence(memory, rows)

    def write(self, context: Context, found: CandidateList, chosen: SelectedEvidence, most: int) -> Prompt:
        """A prompt with the chosen evidence and the first ``most`` candidates."""
        catalogue = self._live.items.catalogue
        return Prompt(
            user=context.user,
            evidence=self._lines(context, chosen.history),
            candidates=[
                Candidate(catalogue.ids[number], float(score), sources)
                for number, score, sources in zip(found.items[:most], found.scores, found.sources, strict=False)
            ],
            item=lambda item_id: catalogue.item(int(catalogue.numbers_of([item_id])[0])),
            salt=self._live.salt,
        )

    def _lines(self, context: Context, history: History) -> list[EvidenceLine]:
        """One line for each row of ``history``, in its order.

        Only interactions with a text of their own have to be read from the store. A row is positive if it is among
        the positives, in which each item stands once.
        """
        ids, names = self._live.items.catalogue.ids, self._live.events
        texts = _own_texts(self._store, context.number, history)
        liked = np.isin(history["interaction"], context.positives["interaction"]).tolist()
        columns = (history[name].tolist() for name in ("item", "event", "time", "value", "interaction"))
        return [
            EvidenceLine(
                ids[item], names[event], time, None if math.isnan(value) else value, texts.get(interaction), positive
            )
            for item, event, time, value, interaction, positive in zip(*columns, liked, strict=True)
        ]


def _own_texts(store: Store, user: int | None, history: History) -> dict[int, str]:
    numbers = history["interaction"][history["own_text"]].tolist()
    if user is None or not numbers:
        return {}
    return {row.number: row.interaction.text or "" for row in store.interactions(user, numbers)}
