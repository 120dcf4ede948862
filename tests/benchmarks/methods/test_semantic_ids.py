from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.methods.compact_model import train
from benchmarks.methods.semantic_ids import CODES, LEVELS, SemanticIds, score, semantic_base
from rag_rec.compact.base import Base, BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import BOS
from rag_rec.compact.walks import WalkSettings
from rag_rec.vectors.protocol import Vectors

SETTINGS = BaseSettings(width=16, layers=1, heads=2, epochs=1, walks=WalkSettings(length=8))


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    drawn = np.random.default_rng(0).normal(size=(300, 12)).astype(np.float32)
    drawn[1] = drawn[0]
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def ids(vectors: Vectors) -> SemanticIds:
    return SemanticIds.of(vectors)


@pytest.fixture(scope="module")
def base(vectors: Vectors, ids: SemanticIds) -> Base:
    return semantic_base(vectors, ids, SETTINGS)


def test_codes_add_up_to_the_text(vectors: Vectors, ids: SemanticIds) -> None:
    errors = []
    for level in range(1, LEVELS + 1):
        rebuilt = ids.centroids[ids.codes[:, :level]].sum(axis=1)
        errors.append(float(((vectors - rebuilt) ** 2).sum(axis=1).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.3
    for level in range(LEVELS):
        assert set(ids.codes[:, level].tolist()) <= set(range(CODES * level, CODES * (level + 1)))


def test_items_with_equal_texts_share_their_codes(ids: SemanticIds) -> None:
    assert ids.codes[0].tolist() == ids.codes[1].tolist()
    assert ids.shared >= 2
    assert replace(ids, codes=np.arange(9).reshape(3, 3)).shared == 0


def test_a_history_is_written_item_by_item(ids: SemanticIds) -> None:
    written = ids.written(np.array([5, 7]))
    assert written.tolist() == [*ids.codes[5].tolist(), *ids.codes[7].tolist()]


def test_scores_are_those_of_one_token_after_the_other(base: Base, ids: SemanticIds) -> None:
    histories = [ids.written(np.array(items)) for items in ([3, 4, 5], [6])]
    items = np.array([[10, 11, 12], [13, 14, 0]])
    found = score(base.model, base.vocabulary, ids, histories, items)
    first, last = base.vocabulary.first_item, base.vocabulary.first_spare
    for row, (history, candidates) in enumerate(zip(histories, items.tolist(), strict=True)):
        for column, item in enumerate(candidates):
            tokens, total = [BOS, *(first + history).tolist()], 0.0
            for code in ids.codes[item].tolist():
                with torch.no_grad():
                    logits = base.model(torch.tensor([tokens])).logits[0, -1, first:last]
                total += float(torch.log_softmax(logits, dim=-1)[code])
                tokens.append(first + code)
            assert found[row, column] == pytest.approx(total, abs=1e-4)


def test_an_adapter_learns_which_level_comes_next(base: Base, ids: SemanticIds) -> None:
    draws = np.random.default_rng(0)
    histories = [ids.written(draws.permutation(300)[:8]) for _ in range(64)]
    settings = AdapterSettings(epochs=20, rate=1e-2, dropout=0.0, batch=8, context=24)
    model = train(base, histories, settings).model()
    tokens = torch.tensor([[BOS, *(base.vocabulary.first_item + ids.written(np.arange(6))).tolist()]])
    with torch.no_grad():
        logits = model(tokens).logits[0, :-1, base.vocabulary.first_item : base.vocabulary.first_spare]
    levels = logits.softmax(dim=-1).reshape(-1, LEVELS, CODES).sum(dim=-1)
    expected = torch.arange(len(levels)) % LEVELS
    assert torch.equal(levels.argmax(dim=-1), expected)
