from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rag_rec.compact.reading import after, choices, likelihoods
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.domain import Item
from tests.rag_rec.compact.circling import ITEMS, a_base

VOCABULARY = Vocabulary.of([Item(str(number), "") for number in range(ITEMS)])
CONTEXT = 4


def person(prefix: Sequence[int], items: Sequence[int]) -> TokenSequence:
    return TokenSequence(np.array(prefix), VOCABULARY.first_item + np.array(items, dtype=np.int64))


PEOPLE = [person([0], [3]), person([0, 3], [4, 9, 2, 7, 7, 1, 0, 5, 3]), person([0], []), person([0], [1, 2, 3, 4])]


@torch.no_grad()
def said(tokens: Sequence[int]) -> npt.NDArray[np.float64]:
    """Log-probabilities of the items after some tokens, by the plain way."""
    logits = a_base()(torch.tensor([list(tokens)])).logits[0, -1].double().numpy()
    items = logits[VOCABULARY.first_item : VOCABULARY.first_spare]
    return np.asarray(items - np.log(np.exp(items).sum()))


def test_every_choice_is_read_after_the_prefix_and_what_its_window_holds() -> None:
    found = choices(a_base(), VOCABULARY, PEOPLE, CONTEXT)
    assert [len(each.logs) for each in found] == [len(each.gains) for each in found] == [1, 9, 0, 4]
    for each, read in zip(PEOPLE, found, strict=True):
        for place, token in enumerate(each.items.tolist()):
            start = max(0, place // CONTEXT * CONTEXT - 1)
            expected = said([*each.prefix, *each.items[start:place]])
            own = expected[token - VOCABULARY.first_item]
            assert read.logs[place] == pytest.approx(own, abs=1e-5)
            rank = int((expected > own + 1e-9).sum())
            assert read.gains[place] == pytest.approx(1.0 / np.log2(rank + 2.0) if rank < 10 else 0.0)


def test_likelihood_is_the_mean_of_a_persons_choices() -> None:
    means = likelihoods(a_base(), VOCABULARY, PEOPLE, CONTEXT)
    found = choices(a_base(), VOCABULARY, PEOPLE, CONTEXT)
    assert means.tolist() == pytest.approx([found[0].logs.mean(), found[1].logs.mean(), 0.0, found[3].logs.mean()])


def test_what_comes_next_follows_the_newest_items() -> None:
    logs, states = after(a_base(), VOCABULARY, PEOPLE, CONTEXT)
    assert states.shape == (4, a_base().config.hidden_size)
    for each, row in zip(PEOPLE, logs, strict=True):
        assert np.allclose(row, said([*each.prefix, *each.items[-CONTEXT:]]), atol=1e-5)
