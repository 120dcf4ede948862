from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks.methods.compact_model import Trained, likelihoods, next_items, train, untrained
from benchmarks.methods.membership import half
from rag_rec.compact.adapter import trained_weights
from rag_rec.compact.base import Base
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import BOS
from rag_rec.evaluation.membership import Attack
from tests.benchmarks.methods.memorised import ITEMS, WIDTH, a_base

SETTINGS = AdapterSettings(epochs=2, rate=1e-2, dropout=0.1, batch=8, context=6)


@pytest.fixture(scope="module")
def base() -> Base:
    return a_base()


@pytest.fixture(scope="module")
def histories() -> list[npt.NDArray[np.int64]]:
    draws = np.random.default_rng(1)
    return [draws.permutation(ITEMS)[: 3 + user % 12] for user in range(40)]


@pytest.fixture(scope="module")
def trained(base: Base, histories: list[npt.NDArray[np.int64]]) -> Trained:
    return train(base, histories, SETTINGS)


@torch.no_grad()
def logs_after(base: Base, tokens: list[int]) -> npt.NDArray[np.float64]:
    """Log-probabilities of the items, by the plain way."""
    logits = base.model(torch.tensor([[BOS, *tokens]])).logits[0, -1].double().numpy()
    first = base.vocabulary.first_item
    items = logits[first : first + ITEMS]
    return np.asarray(items - np.log(np.exp(items).sum()))


def test_next_items_are_those_of_single_prompts(base: Base, histories: list[npt.NDArray[np.int64]]) -> None:
    found = next_items(base.model, base.vocabulary, histories, 6)
    for items, logs in zip(histories, found, strict=True):
        tokens = (base.vocabulary.first_item + items[-6:]).tolist()
        assert np.allclose(logs, logs_after(base, tokens), atol=1e-5)


def test_likelihood_is_the_mean_over_a_history_read_in_windows(
    base: Base, histories: list[npt.NDArray[np.int64]]
) -> None:
    found = likelihoods(base.model, base.vocabulary, histories, 6)
    for items, mean in zip(histories[:14], found, strict=False):
        tokens = (base.vocabulary.first_item + items).tolist()
        logs = []
        for place, item in enumerate(items.tolist()):
            start = max(0, place // 6 * 6 - 1)  # a window reads the item before it
            logs.append(logs_after(base, tokens[start:place])[item])
        assert mean == pytest.approx(np.mean(logs), abs=1e-5)


def test_the_base_is_left_as_it_is_and_full_rank_loses_nothing(base: Base, trained: Trained) -> None:
    merged = dict(trained.model().named_parameters())
    cut = dict(trained.truncated(WIDTH).model().named_parameters())
    for name, weight in trained_weights(base.model).items():
        assert torch.allclose(merged[name], weight + trained.deltas[name])
        assert torch.allclose(merged[name], cut[name], atol=1e-5)
        assert not torch.equal(merged[name], weight)
    small = trained.truncated(2)
    assert all(torch.linalg.matrix_rank(delta, atol=1e-5) <= 2 for delta in small.deltas.values())
    assert trained.parameters(2) * 8 == trained.parameters(16)


def test_frozen_modules_get_no_difference(base: Base, histories: list[npt.NDArray[np.int64]]) -> None:
    found = train(base, histories, SETTINGS, ("embed_tokens", "lm_head"))
    untouched = {name for name, delta in found.deltas.items() if not delta.any()}
    assert untouched == {"model.embed_tokens.weight", "lm_head.weight"}
    assert 0 < found.parameters(4) < untouched_parameters(base)


def untouched_parameters(base: Base) -> int:
    """What all matrices would cost at rank 4."""
    return sum(4 * sum(weight.shape) for weight in trained_weights(base.model).values())


def test_what_was_learned_by_heart_is_found_and_an_untrained_model_gives_nobody_away(
    base: Base, histories: list[npt.NDArray[np.int64]]
) -> None:
    members = half(len(histories), seed=0)
    settings = replace(SETTINGS, epochs=40, dropout=0.0)
    overfit = train(base, [items for items, member in zip(histories, members, strict=True) if member], settings)
    aucs = []
    for trained in (overfit, untrained(base)):
        reached, reference = (likelihoods(m, base.vocabulary, histories, 6) for m in (trained.model(), base.model))
        aucs.append(Attack.of(reached - reference, members, seed=0).auc)
    assert aucs[0] > 0.95
    assert aucs[1] == 0.5
