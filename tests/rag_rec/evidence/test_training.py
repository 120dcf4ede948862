from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.evidence import Attention, Memory
from rag_rec.evidence.training import Choice, FitOptions, fit, listwise_loss

DIMENSION = 12
MARK = 0.5
OPTIONS = FitOptions(heads=2, width=4, epochs=12, batch=32, learning_rate=0.03, seed=3)


def planted_choices(count: int, seed: int) -> list[Choice]:
    """What is taken resembles a telling row (mark +1), and the decoys resemble misleading ones (mark -1).

    By resemblance alone nobody can say which of five candidates is taken; whoever attends to telling rows can.
    """
    rng = np.random.default_rng(seed)
    choices = []
    for _ in range(count):
        topics = rng.standard_normal((8, DIMENSION - 2))
        history = np.hstack([np.repeat([[MARK], [-MARK]], 4, axis=0), np.zeros((8, 1)), _unit(topics)])
        resembled = rng.permutation(np.r_[rng.integers(4), [4, 5, 6, 7]])
        near = _unit(topics[resembled] + 0.3 * rng.standard_normal((5, DIMENSION - 2)))
        candidates = np.hstack([np.zeros((5, 1)), np.full((5, 1), MARK), near])
        choices.append(Choice(_unit(history), np.ones(8), _unit(candidates), int(np.argmin(resembled))))
    return choices


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_fitting_lowers_the_loss_on_choices_not_seen() -> None:
    train, held_out = planted_choices(300, seed=0), planted_choices(300, seed=1)
    untrained = fit(train, replace(OPTIONS, epochs=0))
    trained = fit(train, OPTIONS)
    chance = np.log(5)
    assert listwise_loss(held_out, untrained) > 0.9 * chance
    assert listwise_loss(held_out, trained) < 0.7 * chance


def test_fitted_attention_shows_more_of_the_telling_rows() -> None:
    trained = Attention(projections=fit(planted_choices(300, seed=0), OPTIONS))
    assert share_of_telling_rows(trained) > share_of_telling_rows(Attention()) + 0.2


def share_of_telling_rows(attention: Attention) -> float:
    choices = planted_choices(100, seed=8)
    shown = [attention.select(memory_before(choice), choice.candidates, 4) for choice in choices]
    return float(np.mean(np.concatenate(shown) < 4))


def memory_before(choice: Choice) -> Memory:
    rows = len(choice.history)
    return Memory(choice.history, choice.weights, np.arange(rows), np.ones(rows, np.int32), np.zeros(rows, np.int32))


def test_the_loss_is_the_cross_entropy_of_attention_weighted_closeness() -> None:
    choices = planted_choices(7, seed=2)
    projections = fit(choices, replace(OPTIONS, epochs=1))
    losses = []
    for choice in choices:
        attention = Attention(projections=projections)
        scores = np.zeros(5)
        for candidate in range(5):
            mass = attention.mass(memory_before(choice), choice.candidates[[candidate]])
            scores[candidate] = mass @ (choice.history @ choice.candidates[candidate]) / 0.1
        losses.append(np.log(np.exp(scores).sum()) - scores[choice.taken])
    assert listwise_loss(choices, projections, batch=3) == pytest.approx(float(np.mean(losses)), rel=1e-4)


def test_untrained_projections_attend_about_as_none_do() -> None:
    choice = planted_choices(1, seed=4)[0]
    full_width = fit([choice], replace(OPTIONS, width=DIMENSION, epochs=0))
    memory = memory_before(choice)
    plain = Attention().mass(memory, choice.candidates)
    assert Attention(projections=full_width).mass(memory, choice.candidates) == pytest.approx(plain, abs=1e-4)


def test_the_same_choices_and_seed_give_the_same_weights() -> None:
    choices = planted_choices(40, seed=5)
    first, again = (fit(choices, replace(OPTIONS, epochs=2)) for _ in range(2))
    assert np.array_equal(first.query, again.query)
    assert np.array_equal(first.key, again.key)
    other = fit(choices, replace(OPTIONS, epochs=2, seed=99))
    assert not np.array_equal(first.query, other.query)


def test_histories_may_differ_in_length() -> None:
    long, short = planted_choices(2, seed=6)
    short = replace(short, history=short.history[:2], weights=short.weights[:2])
    projections = fit([long, short], OPTIONS)
    alone = (listwise_loss([long], projections) + listwise_loss([short], projections)) / 2
    assert listwise_loss([long, short], projections) == pytest.approx(alone, rel=1e-5)


GOOD = planted_choices(1, seed=7)[0]


@pytest.mark.parametrize(
    "choices",
    [
        [],
        [replace(GOOD, history=GOOD.history[:0], weights=GOOD.weights[:0])],
        [replace(GOOD, weights=GOOD.weights[:3])],
        [replace(GOOD, taken=5)],
        [GOOD, replace(GOOD, candidates=GOOD.candidates[:4], taken=0)],
        [replace(GOOD, history=GOOD.history[:, :5])],
    ],
    ids=["none", "no history", "weights missing", "no such candidate", "fewer candidates", "other vectors"],
)
def test_unusable_choices_are_refused(choices: list[Choice]) -> None:
    with pytest.raises(InvalidInput):
        fit(choices, OPTIONS)


def test_a_head_wider_than_the_vectors_is_refused() -> None:
    with pytest.raises(InvalidInput, match="width"):
        fit([GOOD], replace(OPTIONS, width=DIMENSION + 1))
