from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from rag_rec.candidates import leakage, training
from rag_rec.candidates.features import FINE
from rag_rec.candidates.fitting import Choices
from rag_rec.candidates.leakage import MOST_SHARE, WANTED, HeldOutPeople
from rag_rec.candidates.reranker import Reranker
from rag_rec.candidates.training import RerankerSettings, fit_reranker
from rag_rec.evaluation.membership import LEAST_PEOPLE
from rag_rec.events.history import History

SMALL = RerankerSettings(examples=100, queries=60, coarse_queries=30, hidden=8, least_positives=3)


def choose(people: int) -> HeldOutPeople:
    return HeldOutPeople.choose(people, range(people), lambda number: f"user-{number}", 0)


@pytest.mark.parametrize("people", [400, 3000, 8000])
def test_as_many_are_kept_out_as_an_interval_needs(people: int) -> None:
    apart = choose(people)
    out = sum(apart.holds(position) for position in range(people))
    assert out == pytest.approx(min(MOST_SHARE * people, WANTED), rel=0.2)


@pytest.mark.parametrize("people", [0, 100, 299])
def test_nobody_is_kept_out_for_nothing(people: int) -> None:
    assert choose(people).share == 0
    assert not any(choose(people).holds(position) for position in range(people))


def test_nobody_is_kept_out_where_ids_are_not_known() -> None:
    assert HeldOutPeople.choose(8000, range(8000), None, 0).share == 0


def test_who_is_kept_out_goes_by_the_callers_id() -> None:
    """Numbers are others in a system that never knew a person."""
    people = choose(400)
    moved = HeldOutPeople(people.share, [number + 7 for number in range(400)], lambda n: f"user-{n - 7}", 0)
    assert [people.holds(n) for n in range(400)] == [moved.holds(n) for n in range(400)]


def test_each_id_is_looked_up_once() -> None:
    asked: list[int] = []

    def user_id(number: int) -> str:
        asked.append(number)
        return f"user-{number}"

    apart = HeldOutPeople(0.5, range(10), user_id, 0)
    for _ in range(3):
        apart.holds(4)
    assert asked == [4]


def crowd(people: int, width: int = 12) -> Choices:
    draws = np.random.default_rng(0)
    shape = (people, width)
    features = draws.normal(size=(*shape, len(FINE))).astype(np.float32)
    return Choices(features, draws.integers(0, width, people), np.ones(shape, dtype=np.bool_), np.arange(people))


def remembering(apart: HeldOutPeople, choices: Choices) -> Choices:
    """The same, but what a member chose has a feature that gives it away."""
    features = choices.features.copy()
    learned = np.flatnonzero(apart.learned(choices))
    features[learned, choices.chosen[learned], 0] += 6.0
    return replace(choices, features=features)


def test_a_reader_that_remembers_nobody_is_a_guess_and_one_that_remembers_is_found() -> None:
    apart, choices = choose(700), crowd(700)
    guess = apart.attack(Reranker.default(), choices)
    assert guess.low is not None and guess.high is not None
    assert guess.low <= 0.5 <= guess.high
    assert guess.held_out == pytest.approx(140, rel=0.2)
    weights = np.zeros(len(FINE), dtype=np.float32)
    weights[0] = 4.0
    found = apart.attack(replace(Reranker.default(), fine_weights=weights), remembering(apart, choices))
    assert found.auc is not None and found.auc > 0.9


def test_a_person_counts_once_however_many_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    apart, once = choose(400), crowd(400)
    both = training.join([once, once])
    assert apart.attack(Reranker.default(), both) == apart.attack(Reranker.default(), once)
    monkeypatch.setattr(leakage, "MOST_ATTACKED", 100)
    assert apart.attack(Reranker.default(), both).members == 100


def test_too_few_people_say_so() -> None:
    apart = HeldOutPeople(0.1, range(300), lambda number: f"user-{number}", 0)
    found = apart.attack(Reranker.default(), crowd(300))
    assert found.auc is None
    assert 0 < found.held_out < LEAST_PEOPLE


def test_the_reader_does_not_learn_from_people_kept_out(
    world: list[tuple[int, History]], item_vectors: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they chose last, the reranker is the same; what the others chose changes it."""
    monkeypatch.setattr(training, "LEAST_EXAMPLES", 5)
    monkeypatch.setattr(leakage, "LEAST_PEOPLE", 1)
    seen: list[Choices] = []
    fit_fine = training.fit_fine

    def noted(reranker: Reranker, choices: Choices, *rest: object) -> Reranker:
        seen.append(choices)
        return fit_fine(reranker, choices, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "fit_fine", noted)
    reranker = fit_reranker(world, item_vectors, 40, SMALL, user_id=lambda number: f"user-{number}")
    apart = HeldOutPeople.choose(1000, [number for number, _ in world], lambda number: f"user-{number}", 0)
    assert reranker.membership is not None
    (learned,) = seen
    assert len(learned) == reranker.examples
    share = min(MOST_SHARE, WANTED / min(len(world), SMALL.queries))
    apart = replace(apart, share=share)
    assert not any(apart.holds(person) for person in learned.people.tolist())
    assert any(apart.holds(position) for position in range(len(world)))
    assert fit_reranker(world, item_vectors, 40, SMALL).membership is None
