from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from rag_rec.domain import Candidate, Item, User
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.language_model import LanguageModel, RankingOptions
from rag_rec.generators.protocol import Encoded, EvidenceCost, Floats, Prompt

LABEL = 100
"""The label of the candidate that is shown first; the next follow."""


class PlacesEncoder:
    """Shows the numbers of the items; the label of a candidate is the place where it is shown."""

    most_candidates = 20
    evidence_cost: EvidenceCost | None = EvidenceCost(30, 2)
    least_mass = 0.5

    def __init__(self, ordered: bool = True, unknown: Sequence[int] = ()) -> None:
        self.ordered = ordered
        self._unknown = unknown

    def encode(self, prompt: Prompt, order: Sequence[int]) -> Encoded:
        numbers = [int(candidate.item_id) for candidate in prompt.candidates]
        labels: list[int | None] = [LABEL + list(order).index(place) for place in range(len(numbers))]
        for place, number in enumerate(numbers):
            if number in self._unknown:
                labels[place] = None
        return Encoded(tuple(numbers[place] for place in order), tuple(labels), prompt.salt)


class BiasedBackend:
    """Likes items by their numbers, and more so the earlier they are shown."""

    model = "biased"
    adapter: str | None = "a1"

    def __init__(self, mass: float = 0.9, bias: float = 1.0) -> None:
        self.asked: list[list[Encoded]] = []
        self.deadlines: list[float | None] = []
        self.closed = False
        self._mass = mass
        self._bias = bias

    def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
        self.deadlines.append(deadline)
        self.asked.append(list(questions))
        return [self._answer(question) for question in questions]

    def problem(self, wait: float = 0.0) -> GeneratorFailure | None:  # noqa: ARG002 - the seam's signature
        return None

    def use_adapter(self, folder: Path | None) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True

    def _answer(self, question: Encoded) -> Floats:
        liking = [math.sin(number) - self._bias * place for place, number in enumerate(question.tokens)]
        shown = np.asarray(log_softmax(liking)) + math.log(self._mass)
        return np.array([np.nan if label is None else shown[label - LABEL] for label in question.labels])


def prompt(count: int = 6, first: int = 0) -> Prompt:
    candidates = [Candidate(str(first + number), -0.1 * number) for number in range(count)]
    return Prompt(User("u"), [], candidates, lambda item_id: Item(item_id, item_id), salt="pepper")


def normalised(log_probabilities: Floats) -> Floats:
    probabilities = [math.exp(value) for value in log_probabilities]
    return np.log(np.array(probabilities) / sum(probabilities))


def test_one_order_is_one_question() -> None:
    backend = BiasedBackend()
    ranking = LanguageModel(PlacesEncoder(), backend).rank(prompt())
    [[question]] = backend.asked
    assert question.tokens == (0, 1, 2, 3, 4, 5)
    assert question.salt == "pepper"
    assert ranking.log_probabilities == pytest.approx(normalised(backend._answer(question)))
    assert ranking.label_mass == pytest.approx(0.9)
    assert (ranking.model, ranking.adapter) == ("biased", "a1")


def test_the_deadline_reaches_the_backend() -> None:
    backend = BiasedBackend()
    LanguageModel(PlacesEncoder(), backend).rank(prompt(), deadline=12.5)
    assert backend.deadlines == [12.5]


def test_several_orders_are_averaged_in_one_call() -> None:
    backend = BiasedBackend()
    ranking = LanguageModel(PlacesEncoder(), backend, RankingOptions(orders=4, seed=3)).rank(prompt())
    [questions] = backend.asked
    assert questions[0].tokens == (0, 1, 2, 3, 4, 5)
    assert len({question.tokens for question in questions}) == 4
    assert all(sorted(question.tokens) == [0, 1, 2, 3, 4, 5] for question in questions)
    by_order = [normalised(backend._answer(question)) for question in questions]
    assert ranking.log_probabilities == pytest.approx(normalised(np.mean(by_order, axis=0)))
    assert ranking.label_mass == pytest.approx(0.9)


def test_averaging_undoes_a_position_bias() -> None:
    def error(orders: int) -> float:
        found = (
            LanguageModel(PlacesEncoder(), BiasedBackend(), RankingOptions(orders=orders))
            .rank(prompt(10))
            .log_probabilities
        )
        return float(abs(found - log_softmax([math.sin(number) for number in range(10)])).max())

    assert error(64) < 0.25 * error(1)


def test_the_same_request_meets_the_same_orders() -> None:
    def asked(seed: int) -> list[tuple[int, ...]]:
        backend = BiasedBackend()
        LanguageModel(PlacesEncoder(), backend, RankingOptions(orders=3, seed=seed)).rank(prompt())
        return [question.tokens for question in backend.asked[0]]

    assert asked(5) == asked(5) != asked(6)


def test_orders_are_not_paid_for_where_the_prompt_does_not_show_them() -> None:
    backend = BiasedBackend()
    LanguageModel(PlacesEncoder(ordered=False), backend, RankingOptions(orders=8)).rank(prompt())
    assert [len(questions) for questions in backend.asked] == [1]


def test_many_prompts_are_one_call_and_equal_single_ones() -> None:
    prompts = [prompt(count, first) for count, first in ((3, 0), (6, 10), (1, 4))]
    backend = BiasedBackend()
    model = LanguageModel(PlacesEncoder(), backend, RankingOptions(orders=2))
    together = model.rank_many(prompts)
    assert [len(questions) for questions in backend.asked] == [6]
    for each, ranking in zip(prompts, together, strict=True):
        assert ranking.log_probabilities == pytest.approx(model.rank(each).log_probabilities)


def test_an_item_newer_than_the_model_keeps_its_share() -> None:
    ranking = LanguageModel(PlacesEncoder(unknown=(2,)), BiasedBackend(mass=0.95, bias=0.0)).rank(prompt(4))
    prior = np.exp([-0.0, -0.1, -0.2, -0.3]) / np.exp([-0.0, -0.1, -0.2, -0.3]).sum()
    found = np.exp(ranking.log_probabilities)
    assert found[2] == pytest.approx(prior[2])
    liking = np.exp([math.sin(0), math.sin(1), math.sin(3)])
    assert found[[0, 1, 3]] == pytest.approx((1 - prior[2]) * liking / liking.sum())


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (np.array([-1.0, np.nan, -1.0]), Reason.MISSING_LABELS),
        (np.array([-1.0, -np.inf, -1.0]), Reason.NOT_A_NUMBER),
        (np.array([-9.0, -9.0, -9.0]), Reason.LOW_LABEL_MASS),
    ],
)
def test_one_bad_answer_among_the_orders_is_refused(broken: Floats, reason: Reason) -> None:
    class Broken(BiasedBackend):
        def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
            return [*super().label_log_probabilities(questions[:-1], deadline), broken]

    with pytest.raises(GeneratorFailure) as raised:
        LanguageModel(PlacesEncoder(), Broken(), RankingOptions(orders=2)).rank(prompt(3))
    assert raised.value.reason is reason


def test_the_encoder_and_the_backend_show_through() -> None:
    backend = BiasedBackend()
    model = LanguageModel(PlacesEncoder(), backend)
    assert model.ranks
    assert model.most_candidates == 20
    assert model.evidence_cost == EvidenceCost(30, 2)
    model.close()
    assert backend.closed


class SwappedBackend(BiasedBackend):
    """Another adapter takes over while the first question is under way."""

    def label_log_probabilities(self, questions: Sequence[Encoded], deadline: float | None) -> list[Floats]:
        self.adapter = "a2"
        return super().label_log_probabilities(questions, deadline)


def test_the_adapter_that_is_named_is_the_one_that_answered() -> None:
    backend = SwappedBackend()
    assert LanguageModel(PlacesEncoder(), backend).rank(prompt()).adapter == "a2"
    assert len(backend.asked) == 2
