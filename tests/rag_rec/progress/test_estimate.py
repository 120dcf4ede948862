from __future__ import annotations

import pytest

from rag_rec.progress.estimate import WINDOW_SECONDS, Estimate


def test_a_steady_stage_is_told_its_rate_and_rest() -> None:
    stage = Estimate(1_000, 0.0)
    assert (stage.rate(5.0), stage.rest(5.0)) == (None, None)
    for second in range(1, 11):
        stage.advance(10, float(second))
    assert stage.rate(10.0) == pytest.approx(10.0)
    assert stage.rest(10.0) == pytest.approx(90.0)


def test_what_an_earlier_run_had_done_is_not_counted_as_fast() -> None:
    stage = Estimate(1_000, 0.0)
    stage.advance(900, 0.1)
    assert stage.rate(1.0) is None
    stage.advance(10, 5.1)
    assert stage.rate(5.1) == pytest.approx(2.0)
    assert stage.rest(5.1) == pytest.approx(45.0)


def test_the_rate_is_that_of_the_last_minute() -> None:
    stage = Estimate(10_000, 0.0)
    for second in range(1, 101):
        stage.advance(50, float(second))
    for second in range(101, 101 + int(WINDOW_SECONDS) + 5):
        stage.advance(1, float(second))
    assert stage.rate(165.0) == pytest.approx(1.0, rel=0.1)


def test_a_stage_that_hangs_becomes_slower() -> None:
    stage = Estimate(100, 0.0)
    stage.advance(50, 10.0)
    rate, later = stage.rate(10.0), stage.rate(1_000.0)
    assert rate is not None and later is not None
    assert later < rate


def test_without_a_total_there_is_no_rest_and_too_much_leaves_none() -> None:
    unknown = Estimate(0, 0.0)
    unknown.advance(5, 1.0)
    assert unknown.rate(1.0) == pytest.approx(5.0)
    assert unknown.rest(1.0) is None
    over = Estimate(4, 0.0)
    over.advance(5, 1.0)
    assert over.rest(1.0) == 0
