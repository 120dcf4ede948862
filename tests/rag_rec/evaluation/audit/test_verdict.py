from __future__ import annotations

import math

import numpy as np
import pytest

from rag_rec.errors import InvalidInput
from rag_rec.evaluation.audit.verdict import Band, judge


def test_a_further_retraining_falls_into_the_band_as_often_as_is_said() -> None:
    draws = np.random.default_rng(0).normal(0.5, 0.1, size=(2000, 6))
    inside = [Band.of(row[:5], level=0.2).holds(row[5]) for row in draws]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.03)


def test_two_retrainings_are_no_band() -> None:
    with pytest.raises(InvalidInput, match="at least 3"):
        Band.of([0.5, 0.6])


def test_deviations_from_the_retrainings() -> None:
    band = Band.of([1.0, 2.0, 3.0])
    assert (band.mean, band.deviation) == (2.0, 1.0)
    assert band.away(4.0) == 2.0
    same = Band.of([1.0, 1.0, 1.0])
    assert (same.away(1.0), same.away(2.0), same.away(0.0)) == (0.0, math.inf, -math.inf)


def test_a_retraining_passes_and_what_is_attacked_better_fails() -> None:
    draws = np.random.default_rng(1)
    retrained = [{"auc": 0.5 + x, "distance": 0.03 + x / 10} for x in draws.normal(0.0, 0.01, 6)]
    assert judge(retrained[0], retrained[1:]).passed
    verdict = judge({"auc": 0.75, "distance": 0.03}, retrained[1:])
    assert not verdict.passed
    assert verdict.failed == ["auc"]


def test_the_more_figures_the_wider_each_band() -> None:
    retrained = [{"one": x, "two": x} for x in (1.0, 2.0, 3.0, 4.0)]
    [alone] = judge({"one": 1.0}, retrained).checks
    both = judge({"one": 1.0, "two": 1.0}, retrained).checks
    assert both[0].band.high > alone.band.high
