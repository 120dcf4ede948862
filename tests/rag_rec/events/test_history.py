from __future__ import annotations

import numpy as np
import pytest

from rag_rec.events.history import HISTORY_DTYPE, History, PositiveRule, empty_history, overwrite

EVENTS = ["rating", "like", "skip"]
NAN = float("nan")


def history(*rows: tuple[int, int, float]) -> History:
    """Rows of (item, event, value), one a millisecond."""
    return np.array(
        [(n, item, event, value, n, False) for n, (item, event, value) in enumerate(rows)], dtype=HISTORY_DTYPE
    )


def slow_positive(event: int, value: float) -> bool:
    return {0: value >= 4.0 or np.isnan(value), 1: True, 2: False}[event]


ROWS = history((0, 0, 5.0), (1, 0, 3.9), (2, 0, NAN), (3, 1, NAN), (4, 1, 1.0), (5, 2, 5.0), (6, 0, 4.0))


def test_what_is_positive_follows_the_rule() -> None:
    expected = [bool(slow_positive(row["event"], row["value"])) for row in ROWS]
    assert PositiveRule().mask(ROWS, EVENTS).tolist() == expected == [True, False, True, True, True, False, True]


def test_an_item_is_positive_once_at_its_latest_time() -> None:
    rows = history((7, 1, NAN), (8, 1, NAN), (7, 1, NAN), (9, 2, NAN))
    assert PositiveRule().positives(rows, EVENTS)["interaction"].tolist() == [1, 2]


def test_weights_grow_with_the_value_and_an_ignored_event_weighs_nothing() -> None:
    weights = PositiveRule().weights(ROWS, EVENTS)
    assert weights.tolist() == pytest.approx([1.0, 0.78, 1.0, 1.0, 1.0, 0.0, 0.8])


def test_an_event_without_a_rule_is_neutral() -> None:
    rows = history((0, 0, NAN), (1, 1, NAN))
    rule = PositiveRule()
    assert rule.mask(rows, ["teleported", "like"]).tolist() == [False, True]
    assert rule.weights(rows, ["teleported", "like"]).tolist() == [0.0, 1.0]
    assert rule.met(rows, ["teleported", "like"]).tolist() == [0, 1]


def test_an_impression_is_not_positive_and_its_item_may_be_proposed_again() -> None:
    rows = history((4, 0, NAN), (3, 1, NAN), (5, 0, NAN), (5, 1, NAN), (2, 2, NAN))
    names = ["impression", "view", "remove_from_cart"]
    assert PositiveRule().met(rows, names).tolist() == [2, 3, 5]
    assert PositiveRule().mask(rows, names).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("events", [EVENTS, []])
def test_an_empty_history_has_nothing_positive(events: list[str]) -> None:
    assert len(PositiveRule().positives(empty_history(), events)) == 0
    assert len(PositiveRule().weights(empty_history(), events)) == 0
    assert len(PositiveRule().met(empty_history(), events)) == 0


def test_overwriting_leaves_no_byte() -> None:
    rows = ROWS.copy()
    overwrite(rows)
    assert not any(rows.tobytes())
