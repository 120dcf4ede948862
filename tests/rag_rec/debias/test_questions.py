from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rag_rec.compact.adapter import Deltas, merged, trained_weights
from rag_rec.debias.questions import NO_LABEL, TOGETHER, Questions
from rag_rec.errors import InvalidInput
from rag_rec.influence.vectors import add, dot
from tests.rag_rec.compact.circling import FIRST_ITEM, ITEMS, KNOWN, a_base

PEOPLE, WIDTH = TOGETHER + 9, 6
DRAWS = np.random.default_rng(0)
PROMPTS = [[0, *(FIRST_ITEM + DRAWS.integers(ITEMS, size=1 + person % 7)).tolist()] for person in range(PEOPLE)]
LABELS = np.stack([FIRST_ITEM + DRAWS.permutation(ITEMS)[:WIDTH] for _ in range(PEOPLE)])
LABELS[::3, -1] = NO_LABEL
INSTEAD = np.where(LABELS == NO_LABEL, -np.inf, DRAWS.normal(size=LABELS.shape))
LABELS[4, 0] = KNOWN  # a candidate whose item was not there at the training


def some_deltas(seed: int, scale: float = 0.1) -> Deltas:
    draws = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(each.shape, generator=draws) for name, each in trained_weights(a_base()).items()}


DELTAS = some_deltas(1)


def asked() -> Questions:
    base: Any = SimpleNamespace(model=a_base())
    return Questions.of(base, KNOWN, PROMPTS, LABELS, INSTEAD)


def test_opinions_are_those_of_the_whole_model() -> None:
    found = asked().opinions(DELTAS)
    model = merged(a_base(), DELTAS)
    for person in range(PEOPLE):
        if person == 4:
            continue
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([PROMPTS[person]])).logits[0, -1]
        there = LABELS[person] != NO_LABEL
        expected = torch.log_softmax(logits[LABELS[person][there]], dim=0)
        assert torch.allclose(found[person][there], expected, atol=1e-5)
        assert torch.isneginf(found[person][~there]).all()


def test_where_a_candidate_has_no_token_the_candidates_order_counts_and_nothing_pulls() -> None:
    questions = asked()
    assert torch.allclose(questions.opinions(DELTAS)[4], torch.as_tensor(INSTEAD[4]).float())
    slopes = torch.zeros(PEOPLE, WIDTH)
    slopes[4] = 1.0
    assert not any(each.any() for each in questions.back(DELTAS, slopes).values())


def test_back_is_the_derivative_of_the_opinions() -> None:
    questions = asked()
    slopes = torch.randn(PEOPLE, WIDTH, generator=torch.Generator().manual_seed(2))
    slopes[torch.as_tensor(~np.isfinite(INSTEAD))] = 0.0
    direction, width = some_deltas(3, 1.0), 1e-3

    def value(deltas: Deltas) -> float:
        return float((torch.nan_to_num(questions.opinions(deltas), neginf=0.0).double() * slopes.double()).sum())

    by_hand = (value(add(DELTAS, direction, width)) - value(add(DELTAS, direction, -width))) / (2.0 * width)
    assert dot(questions.back(DELTAS, slopes), direction) == pytest.approx(by_hand, rel=2e-2)


def test_no_prompt_is_refused() -> None:
    base: Any = SimpleNamespace(model=a_base())
    with pytest.raises(InvalidInput, match="no person to ask"):
        Questions.of(base, KNOWN, [], np.zeros((0, 3), dtype=np.int64), np.zeros((0, 3)))
    assert len(asked()) == PEOPLE
