from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from rag_rec.recommend.fusion import Trials, cautious_weight, fit_gate, fuse, gain_of
from rag_rec.recommend.gate import MOST_WEIGHT

scores = st.lists(st.floats(-20, 20), min_size=1, max_size=12)


@given(scores, st.floats(0, 10), st.floats(-5, 5))
def test_a_fusion_is_a_distribution_and_ignores_constants(values: list[float], weight: float, shift: float) -> None:
    candidates = np.array(values)
    llm = np.asarray(log_softmax(candidates[::-1]))
    fused = fuse(candidates, llm, weight)
    assert np.exp(fused).sum() == pytest.approx(1.0)
    assert np.allclose(fused, fuse(candidates + shift, llm, weight))


def test_weight_zero_is_the_llms_order_and_a_flat_llm_changes_nothing() -> None:
    candidates, llm = np.array([3.0, 1.0, 2.0]), np.asarray(log_softmax([0.0, 2.0, 1.0]))
    assert np.allclose(fuse(candidates, llm, 0.0), llm)
    assert np.allclose(fuse(candidates, np.full(3, -np.log(3)), 1.0), log_softmax(candidates))


def test_the_gain_of_an_answer_is_that_of_its_rank() -> None:
    given_scores = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0], [3.0, 2.0, 1.0]])
    gains = gain_of(given_scores, np.array([0, 0, 1, -1]))
    assert np.allclose(gains, [1.0, 1 / np.log2(4), 1 / np.log2(3), 0.0])


def test_an_answer_beyond_the_tenth_place_gains_nothing() -> None:
    line = -np.arange(20.0)[None]
    assert gain_of(line, np.array([9]))[0] == pytest.approx(1 / np.log2(11))
    assert gain_of(line, np.array([10]))[0] == 0.0


def trials(knows: float, users: int = 400, seed: int = 0) -> Trials:
    """Candidates that half know the answer, and an LLM that knows it to a degree of its own."""
    draws = np.random.default_rng(seed)
    answers = draws.integers(0, 20, size=users)
    truth = np.zeros((users, 20))
    truth[np.arange(users), answers] = 1.0
    candidates = np.asarray(log_softmax(1.5 * truth + draws.normal(size=truth.shape), axis=1))
    llm = np.asarray(log_softmax(knows * truth + draws.normal(size=truth.shape), axis=1))
    return Trials(candidates, llm, answers)


def test_an_llm_that_knows_something_else_is_used() -> None:
    gate = fit_gate(trials(2.0), seed=0, model="m", adapter="a")
    assert gate.use
    assert gate.candidates is not None and gate.fused is not None and gate.gain is not None
    assert gate.fused > gate.candidates
    assert gate.gain[0] > 0
    assert (gate.model, gate.adapter, gate.users) == ("m", "a", 400)


def test_an_llm_that_knows_the_opposite_is_bypassed() -> None:
    gate = fit_gate(trials(-4.0), seed=0)
    assert not gate.use
    assert cautious_weight(trials(-4.0)) == MOST_WEIGHT


def test_the_better_the_llm_the_less_the_candidates_weigh() -> None:
    assert cautious_weight(trials(6.0)) < cautious_weight(trials(0.3))


def test_the_thinner_the_evidence_the_nearer_the_weight_to_the_candidates_order() -> None:
    def raised(users: int) -> float:
        samples = [trials(1.0, users=users, seed=seed) for seed in range(8)]
        return float(np.median([cautious_weight(each) / cautious_weight(each, caution=0.0) for each in samples]))

    thin, some, much = (raised(users) for users in (40, 400, 4000))
    assert thin > some > much > 1.0
    assert much < 1.1


def test_caution_lowers_the_llms_scale_by_its_standard_error() -> None:
    """The slow, obvious way: the standard deviation of the scale over many samples of people."""
    samples = [trials(1.0, users=200, seed=seed) for seed in range(60)]
    ratios = [1 / cautious_weight(each, caution=0.0) for each in samples]
    lowered = [1 / cautious_weight(each) for each in samples]
    assert np.mean(ratios) - np.mean(lowered) == pytest.approx(np.std(ratios), rel=0.4)


def test_without_an_answer_among_the_candidates_the_candidates_order_is_kept() -> None:
    few = trials(2.0, users=60)
    gate = fit_gate(Trials(few.candidates, few.llm, np.full(60, -1)), seed=0)
    assert (gate.use, gate.weight, gate.gain) == (False, MOST_WEIGHT, (0.0, 0.0))


@pytest.mark.parametrize("knows", [0.2, 0.6, 2.0])
def test_the_gate_is_open_if_and_only_if_the_whole_interval_is_above_zero(knows: float) -> None:
    for seed in range(5):
        gate = fit_gate(trials(knows, users=150, seed=seed), seed)
        assert gate.gain is not None
        assert gate.use is (gate.gain[0] > 0)


def test_a_mean_gain_within_noise_does_not_open_the_gate() -> None:
    gates = [fit_gate(trials(0.2, users=90, seed=seed), seed) for seed in range(12)]
    uncertain = [gate for gate in gates if gate.fused and gate.candidates and gate.fused > gate.candidates]
    closed = [gate for gate in uncertain if gate.gain and gate.gain[0] <= 0]
    assert closed
    assert not any(gate.use for gate in closed)


def test_a_few_answers_that_moved_by_chance_do_not_open_the_gate() -> None:
    """An LLM that is silent but for some people, whose answers it puts first."""
    base = trials(1.0, users=400)
    for loud, opened in ((6, False), (120, True)):
        llm = np.zeros_like(base.llm)
        llm[np.arange(loud), base.answers[:loud]] = 9.0
        gate = fit_gate(Trials(base.candidates, np.asarray(log_softmax(llm, axis=1)), base.answers), seed=0)
        assert gate.use is opened


def test_the_weight_is_the_likeliest_of_a_fine_grid() -> None:
    """The slow, obvious way: try every pair of scales."""
    few = trials(2.0, users=150)
    scales = np.linspace(0.1, 3.0, 59)
    rows = np.arange(len(few.answers))
    reached = {
        (a, b): log_softmax(a * few.candidates + b * few.llm, axis=1)[rows, few.answers].sum()
        for a in scales
        for b in scales
    }
    a, b = max(reached, key=lambda pair: reached[pair])
    assert cautious_weight(few, caution=0.0) == pytest.approx(a / b, rel=0.1)


def test_the_same_trials_give_the_same_gate() -> None:
    assert fit_gate(trials(1.0), seed=3) == fit_gate(trials(1.0), seed=3)


def test_questions_with_few_candidates_are_judged_as_well() -> None:
    whole = trials(2.0)
    candidates, llm = whole.candidates.copy(), whole.llm.copy()
    candidates[:, 15:], llm[:, 15:] = -np.inf, -np.inf
    gate = fit_gate(Trials(candidates, llm, np.where(whole.answers < 15, whole.answers, -1)), seed=0)
    assert gate.fused is not None and 0 < gate.fused < 1


def test_fused_trials_are_in_the_order_of_the_fusion_and_keep_their_gaps() -> None:
    few = trials(2.0, users=5)
    few.candidates[:, 15:] = few.llm[:, 15:] = -np.inf
    for weight in (0.0, 0.7):
        fused = few.fused(weight)
        assert np.isneginf(fused[:, 15:]).all()
        for row, candidates, llm in zip(fused, few.candidates, few.llm, strict=True):
            assert np.allclose(log_softmax(row[:15]), fuse(candidates[:15], llm[:15], weight))
