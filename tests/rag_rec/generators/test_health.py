from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.health import read_labels
from rag_rec.generators.protocol import Encoded, Floats


@st.composite
def answers(draw: st.DrawFn) -> tuple[Encoded, Floats, Floats]:
    """A question with at least one labelled candidate, what a model answered, and the candidate model's prior."""
    count = draw(st.integers(1, 12))
    labelled = draw(st.lists(st.booleans(), min_size=count, max_size=count).filter(any))
    logits = np.array(draw(st.lists(st.floats(-30, 30), min_size=count + 1, max_size=count + 1)))
    scores = np.array(draw(st.lists(st.floats(-20, 20), min_size=count, max_size=count)))
    found = np.where(labelled, log_softmax(logits)[1:], np.nan)  # the first logit stands for the rest of the vocabulary
    labels = tuple(10 + number if known else None for number, known in enumerate(labelled))
    return Encoded((1,), labels), found, np.asarray(log_softmax(scores))


@given(answers())
def test_candidates_without_a_label_keep_their_share_and_the_rest_is_the_models(
    answer: tuple[Encoded, Floats, Floats],
) -> None:
    encoded, found, prior = answer
    read, mass = read_labels(encoded, found, prior, least_mass=1e-300)
    labelled = [label is not None for label in encoded.labels]
    probabilities = [math.exp(value) if known else 0.0 for value, known in zip(found, labelled, strict=True)]
    kept = sum(math.exp(value) for value, known in zip(prior, labelled, strict=True) if not known)
    for place, known in enumerate(labelled):
        if known:
            expected = probabilities[place] / sum(probabilities) * max(1.0 - kept, 0.0)
            assert math.exp(read[place]) == pytest.approx(expected, rel=1e-6, abs=1e-9)
        else:
            assert read[place] == prior[place]
    assert float(logsumexp(read)) == pytest.approx(0.0, abs=1e-9)
    assert mass == pytest.approx(sum(probabilities))


@given(answers(), st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_matter(answer: tuple[Encoded, Floats, Floats], random: object) -> None:
    encoded, found, prior = answer
    order = list(range(len(prior)))
    random.shuffle(order)  # type: ignore[attr-defined]
    read, mass = read_labels(encoded, found, prior, 1e-300)
    shuffled = Encoded(encoded.tokens, tuple(encoded.labels[place] for place in order))
    read_shuffled, mass_shuffled = read_labels(shuffled, found[order], prior[order], 1e-300)
    assert read_shuffled == pytest.approx(read[order], abs=1e-9)
    assert mass_shuffled == pytest.approx(mass)


def test_the_prior_is_not_changed() -> None:
    prior = np.log([0.5, 0.5])
    read_labels(Encoded((1,), (2, 3)), np.log([0.9, 0.05]), prior, 0.5)
    assert np.exp(prior) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("labels", "found", "reason"),
    [
        ((None, None), [np.nan, np.nan], Reason.MISSING_LABELS),
        ((2, 3), [-0.7, np.nan], Reason.MISSING_LABELS),
        ((2, 3), [-0.7, -np.inf], Reason.NOT_A_NUMBER),
        ((2, 3), [-0.7, np.inf], Reason.NOT_A_NUMBER),
        ((2, 3), [-0.7, 0.2], Reason.NOT_A_NUMBER),
        ((2, 3), [-5.0, -5.0], Reason.LOW_LABEL_MASS),
    ],
)
def test_what_cannot_be_relied_on_is_refused(
    labels: tuple[int | None, ...], found: list[float], reason: Reason
) -> None:
    with pytest.raises(GeneratorFailure) as raised:
        read_labels(Encoded((1,), labels), np.array(found), np.log([0.5, 0.5]), least_mass=0.5)
    assert raised.value.reason is reason


def test_the_bound_on_the_label_mass_is_inclusive_and_rounding_is_forgiven() -> None:
    encoded, prior = Encoded((1,), (2, 3)), np.log([0.5, 0.5])
    _, mass = read_labels(encoded, np.log([0.26, 0.26]), prior, 0.5)
    assert mass == pytest.approx(0.52)
    read, _ = read_labels(encoded, np.array([1e-6, -40.0]), prior, 0.5)
    assert np.exp(read) == pytest.approx([1.0, 0.0], abs=1e-5)
