from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from rag_rec.evaluation.bootstrap import interval, interval_of


def test_intervals_cover_the_mean_about_as_often_as_they_say() -> None:
    """300 samples from a known distribution; a binomial share of 0.9 has a standard deviation of 0.017."""
    draws = np.random.default_rng(0)
    samples = [draws.exponential(2.0, size=60) for _ in range(300)]
    bounds = [interval(sample, seed, level=0.9, resamples=300) for seed, sample in enumerate(samples)]
    covered = np.mean([low <= 2.0 <= high for low, high in bounds])
    assert 0.82 <= covered <= 0.95


def test_an_interval_narrows_with_the_number_of_users() -> None:
    values = np.random.default_rng(1).normal(size=6400)
    widths = [high - low for low, high in (interval(values[:n], 0) for n in (100, 6400))]
    assert widths[0] / widths[1] == pytest.approx(8.0, rel=0.3)


def test_a_higher_level_gives_a_wider_interval() -> None:
    values = np.random.default_rng(2).normal(size=200)
    (low, high), (lower, higher) = interval(values, 0, level=0.5), interval(values, 0, level=0.99)
    assert lower < low < values.mean() < high < higher


def test_values_that_do_not_vary_have_no_width() -> None:
    assert interval(np.zeros(7), 3) == (0.0, 0.0)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(4).normal(size=50)
    assert interval(values, 1) == interval(values, 1) != interval(values, 2)


def test_one_value_has_no_width() -> None:
    assert interval(np.array([0.3]), 0) == (0.3, 0.3)


def test_pairs_that_move_together_have_a_narrower_difference() -> None:
    draws = np.random.default_rng(5)
    first = draws.normal(size=300)
    second = first + 0.1 * draws.normal(size=300)

    def difference(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
        return np.asarray(one.mean(axis=axis) - other.mean(axis=axis))

    together, apart = (interval_of(difference, [first, second], 0, paired=paired) for paired in (True, False))
    assert together == pytest.approx(interval(first - second, 0), abs=1e-12)
    assert together[1] - together[0] < 0.2 * (apart[1] - apart[0])


def test_a_centred_interval_covers_what_twice_drawn_users_change() -> None:
    """How many of a hundred items eighty users are shown, one each: the mean is known."""
    draws, expected = np.random.default_rng(6), 1.0 - 0.99**80

    def share(users: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
        shown = np.sort(np.moveaxis(users, axis, -1), axis=-1)
        return np.asarray((1 + (np.diff(shown, axis=-1) > 0).sum(axis=-1)) / 100)

    samples = [draws.integers(0, 100, 80).astype(np.float64) for _ in range(200)]
    covered = {}
    for centred in (True, False):
        bounds = [interval_of(share, [each], seed, resamples=200, centred=centred) for seed, each in enumerate(samples)]
        covered[centred] = np.mean([low <= expected <= high for low, high in bounds])
    assert covered[True] > 0.9
    assert covered[False] < 0.05


def test_there_is_one_bootstrap() -> None:
    root = Path(__file__).parents[3]
    others = [
        path
        for folder in ("rag_rec", "indexer", "benchmarks")
        for path in (root / folder).rglob("*.py")
        if "97.5" in path.read_text() or "RESAMPLES =" in path.read_text()
    ]
    assert others == []
