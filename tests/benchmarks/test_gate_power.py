"""How often the gate opens on nothing, and how often on something."""

from __future__ import annotations

import numpy as np

from benchmarks.gate_power import OPINIONS, opened_by_the_mean, rows_of
from benchmarks.methods.simulated_opinions import MISSED, Opinion, simulated
from rag_rec.recommend.fusion import fit_gate

RUNS = 160


def test_an_llm_that_knows_nothing_new_opens_one_gate_in_forty_and_every_third_one_by_the_mean() -> None:
    """A binomial share of .025 in 160 has a standard deviation of .012."""
    samples = [simulated(OPINIONS["the candidates' opinion, less well"], 100, seed) for seed in range(RUNS)]
    by_mean = np.mean([opened_by_the_mean(trials, seed) for seed, trials in enumerate(samples)])
    opened = np.mean([fit_gate(trials, seed).use for seed, trials in enumerate(samples)])
    assert 0.25 <= by_mean <= 0.65
    assert opened <= 0.025 + 2 * 0.012


def test_an_llm_that_helps_is_let_in_by_enough_people() -> None:
    shares = [
        np.mean([fit_gate(simulated(OPINIONS["helps"], people, seed), seed).use for seed in range(8)])
        for people in (100, 2500)
    ]
    assert shares[0] < 0.5
    assert shares[1] >= 0.8


def test_a_row_compares_both_rules() -> None:
    (first, *_) = rows_of("noise", Opinion(0.0, 0.0), 2)
    assert (first["name"], first["people"], first["runs"]) == ("noise", 100, 2)
    assert first["open"] == 0.0


def test_simulated_candidates_are_in_order_and_miss_some_answers() -> None:
    trials = simulated(Opinion(1.0, 0.5), 2000, 0)
    assert (np.diff(trials.candidates, axis=1) <= 0).all()
    assert abs((trials.answers < 0).mean() - MISSED) < 0.05
