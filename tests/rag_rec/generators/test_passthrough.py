from __future__ import annotations

import numpy as np
import pytest

from rag_rec.domain import Candidate, Item, User
from rag_rec.generators.passthrough import Passthrough
from rag_rec.generators.protocol import Prompt


def prompt(scores: list[float]) -> Prompt:
    candidates = [Candidate(f"i{number}", score) for number, score in enumerate(scores)]
    return Prompt(User("u"), [], candidates, lambda item_id: Item(item_id, item_id))


def test_the_candidates_keep_their_order_and_their_scores() -> None:
    ranking = Passthrough().rank(prompt([2.0, 1.5, -3.0]))
    weights = np.exp([2.0, 1.5, -3.0])
    assert np.exp(ranking.log_probabilities) == pytest.approx(weights / weights.sum())
    assert (ranking.label_mass, ranking.model, ranking.adapter) == (None, None, None)


def test_no_candidates() -> None:
    assert len(Passthrough().rank(prompt([])).log_probabilities) == 0


def test_it_has_no_opinion_no_limit_and_nothing_to_release() -> None:
    passthrough = Passthrough()
    assert not passthrough.ranks
    assert passthrough.most_candidates >= 10_000
    assert passthrough.evidence_cost is None
    passthrough.close()
