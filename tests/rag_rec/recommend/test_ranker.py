from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.special import log_softmax

from rag_rec.domain import Candidate, Item, Source, User
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.passthrough import Passthrough
from rag_rec.generators.protocol import EvidenceCost, Prompt, Ranking
from rag_rec.recommend.fusion import Floats, fuse
from rag_rec.recommend.gate import Gate
from rag_rec.recommend.ranker import BYPASSED, NOT_MEASURED, WITHHELD, Ranker

USE = Gate(use=True, weight=1.0)


class Reversing:
    """Prefers the last candidate; or fails."""

    ranks = True
    most_candidates = 3
    evidence_cost: EvidenceCost | None = EvidenceCost(7, 1)

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.deadline: float | None = None

    def rank(self, prompt: Prompt, deadline: float | None) -> Ranking:
        self.deadline = deadline
        if self.failure:
            raise self.failure
        return Ranking(np.asarray(log_softmax(5.0 * np.arange(len(prompt.candidates)))), 0.9, "model", "adapter")

    def close(self) -> None:
        pass


def prompt_of(scores: Floats, asked: int = 3) -> Prompt:
    candidates = [Candidate(str(place), float(score)) for place, score in enumerate(scores[:asked])]
    return Prompt(User("u"), [], candidates, lambda item_id: Item(item_id, ""))


SCORES = np.asarray(log_softmax([2.0, 1.9, 1.8, 1.0, 0.5]))


def test_the_llm_reorders_what_it_was_asked_about_and_the_rest_follows() -> None:
    ranked = Ranker(Reversing(), USE, 1.0).rank(prompt_of(SCORES), SCORES, None)
    assert np.argsort(-ranked.scores).tolist() == [2, 1, 0, 3, 4]
    assert ranked.source is Source.FUSED
    assert ranked.ranking is not None and ranked.ranking.label_mass == 0.9
    expected = fuse(SCORES[:3], ranked.ranking.log_probabilities, 1.0)
    assert np.allclose(ranked.scores[:3], expected)


def test_weight_zero_leaves_the_order_to_the_llm() -> None:
    ranked = Ranker(Reversing(), Gate(use=True, weight=0.0), 1.0).rank(prompt_of(SCORES[:3]), SCORES[:3], None)
    assert ranked.source is Source.LLM


@pytest.mark.parametrize(
    ("gate", "why"), [(None, NOT_MEASURED), (Gate(use=False, weight=2.0), BYPASSED)], ids=["unmeasured", "no help"]
)
def test_an_llm_that_is_not_known_to_help_is_not_asked(gate: Gate | None, why: str) -> None:
    ranker = Ranker(Reversing(), gate, 1.0)
    assert not ranker.asks
    assert ranker.evidence_cost is None
    ranked = ranker.without(SCORES)
    assert (ranked.source, ranked.fallback) == (Source.CANDIDATES, why)
    assert np.array_equal(ranked.scores, SCORES)


def test_why_an_adapter_is_withheld_comes_before_the_gate_of_the_base() -> None:
    for gate in (None, Gate(use=False, weight=2.0)):
        assert Ranker(Reversing(), gate, 1.0, withheld=True).without(SCORES).fallback == WITHHELD
    assert Ranker(Reversing(), USE, 1.0, withheld=True).without(SCORES).fallback is None


def test_without_an_llm_there_is_nothing_to_fall_back_from() -> None:
    ranked = Ranker(Passthrough(), None, 1.0).without(SCORES)
    assert (ranked.source, ranked.fallback) == (Source.CANDIDATES, None)
    assert Ranker(Passthrough(), USE, 1.0).without(SCORES, personal=False).source is Source.POPULARITY


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (GeneratorFailure(Reason.OVERLOADED, "busy"), Reason.OVERLOADED),
        (RuntimeError("unforeseen"), Reason.INTERNAL),
    ],
)
def test_a_failure_leaves_the_candidates_order(failure: Exception, why: Reason) -> None:
    ranked = Ranker(Reversing(failure), USE, 1.0).rank(prompt_of(SCORES), SCORES, None)
    assert (ranked.source, ranked.fallback) == (Source.CANDIDATES, why)
    assert np.array_equal(ranked.scores, SCORES)


def test_the_generator_gets_less_time_than_there_is() -> None:
    generator = Reversing()
    deadline = time.monotonic() + 10.0
    Ranker(generator, USE, 60.0).rank(prompt_of(SCORES), SCORES, deadline)
    assert generator.deadline is not None and deadline - 2.0 < generator.deadline < deadline - 0.5
    Ranker(generator, USE, 1.0).rank(prompt_of(SCORES), SCORES, deadline)
    assert generator.deadline < time.monotonic() + 1.0


def test_a_deadline_that_has_passed_is_not_worth_asking() -> None:
    generator = Reversing()
    ranked = Ranker(generator, USE, 1.0).rank(prompt_of(SCORES), SCORES, time.monotonic() - 1.0)
    assert (ranked.source, ranked.fallback) == (Source.CANDIDATES, Reason.LATE)
    assert generator.deadline is None


def test_the_gate_can_be_read_off_an_answer() -> None:
    measured = Gate(use=False, weight=2.0, users=96, gain=(-0.0075, 0.0245))
    state = Ranker(Reversing(), measured, 1.0).gate_state
    assert state is not None
    assert (state.open, state.metric, state.gain, state.people) == (False, "ndcg@10", (-0.0075, 0.0245), 96)
    assert Ranker(Reversing(), None, 1.0).gate_state is None
    assert Ranker(Passthrough(), measured, 1.0).gate_state is None
