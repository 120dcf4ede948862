"""Figures of fairness of the first ten places, of lists small enough to work out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import generator
from rag_rec.events.history import HISTORY_DTYPE

PEOPLE, ITEMS = 40, 10


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Everybody knows item 0, and one in two item 1 too; the candidates are all items in the order of their number."""
    known = [np.zeros(1 + user % 2, dtype=HISTORY_DTYPE) for user in range(PEOPLE)]
    for history in known:
        history["item"] = np.arange(len(history))
    answers = np.array([2, 9] * (PEOPLE // 2))
    questions = SimpleNamespace(known=known, asked=np.arange(PEOPLE), answers=answers)
    test = SimpleNamespace(questions=questions, items=np.tile(np.arange(ITEMS), (PEOPLE, 1)))
    monkeypatch.setattr(generator, "user_groups", lambda _, users: {"gender": users % 2})
    return SimpleNamespace(benchmark=SimpleNamespace(n_items=ITEMS)), test


def test_a_row_tells_both_sides_and_both_references(asked: tuple[Any, Any]) -> None:
    run, test = asked
    row = generator._fairness(run, test, np.tile(np.arange(ITEMS), (PEOPLE, 1)))
    assert row["head share"] == 0.2  # all ten items are shown to everybody
    assert row["head share of choices"] == 0.0
    assert row["gini"] == 0.0
    # Shares of the places 1/5 each, of the choices 0 1/2 0 0 1/2, of the histories 1 0 0 0 0.
    assert (row["mgu choices"], row["dgu choices"]) == (0.24, 0.5)
    assert (row["mgu histories"], row["dgu histories"]) == (0.32, 1.0)
    # Answers are third or last, by gender and by activity alike.
    assert row["ndcg gap by gender"] == pytest.approx(0.5 - 1.0 / np.log2(11.0), abs=1e-4)
    assert row["ndcg gap by activity"] == row["ndcg gap by gender"]


def test_lists_that_are_short_count_as_far_as_they_go(asked: tuple[Any, Any]) -> None:
    run, test = asked
    test.items = test.items.copy()
    test.items[:, 2:] = -1
    row = generator._fairness(run, test, np.tile(np.arange(ITEMS), (PEOPLE, 1)))
    assert row["head share"] == 1.0
    assert row["ndcg gap by gender"] == 0.0
