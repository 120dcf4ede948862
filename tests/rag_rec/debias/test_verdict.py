from __future__ import annotations

from typing import Any

from rag_rec.debias.verdict import Verdict


def judged(loss: tuple[float, float] = (-0.01, 0.005), **figures: tuple[float, float, float]) -> dict[str, Any]:
    return {"figures": figures, "loss_interval": loss}


def test_a_figure_that_is_fairer_with_its_whole_interval_is_enough() -> None:
    found = judged(popularity=(-0.05, -0.07, -0.03), gini=(-0.001, -0.01, 0.008))
    assert Verdict.of(found, {"popularity": -0.1, "gini": 0.1}, 0.01).publish


def test_what_is_within_noise_is_refused() -> None:
    verdict = Verdict.of(judged(popularity=(-0.05, -0.11, 0.01)), {"popularity": -0.1}, 0.01)
    assert not verdict.publish
    assert verdict.against == (
        "no figure comes nearer to fair with its whole 95 % interval: popularity -0.0500 (-0.1100 to +0.0100)",
    )


def test_another_figure_may_not_suffer_beyond_noise() -> None:
    found = judged(popularity=(-0.05, -0.07, -0.03), mgu=(0.02, 0.01, 0.03))
    [why] = Verdict.of(found, {"popularity": -0.1, "mgu": -0.1}, 0.01).against
    assert why == "the lists become less fair with the whole interval: mgu +0.0200 (+0.0100 to +0.0300)"


def test_a_loss_that_may_be_beyond_the_budget_is_refused() -> None:
    found = judged((-0.03, 0.02), popularity=(-0.05, -0.07, -0.03))
    [why] = Verdict.of(found, {"popularity": -0.1}, 0.01).against
    assert why == "NDCG may have lost 2.0% (95 % interval), more than the budget of 1.0%"
    assert Verdict.of(found, {"popularity": -0.1}, 0.02).publish


def test_a_change_against_the_prediction_is_refused() -> None:
    [why] = Verdict.of(judged(popularity=(-0.05, -0.07, -0.03)), {"popularity": 0.01}, 0.01).against
    assert why.startswith("against what was predicted: popularity -0.0500")
