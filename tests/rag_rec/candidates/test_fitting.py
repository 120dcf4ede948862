from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from rag_rec.candidates.fitting import LINEAR, NETWORK, Choices, fit_linear, fit_network


def choices_of(seed: int = 0, queries: int = 600) -> Choices:
    """The chosen one of eight candidates is drawn by 2 * first feature - second feature; the third says nothing."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(queries, 8, 3)).astype(np.float32)
    scores = 2.0 * features[:, :, 0] - features[:, :, 1] + generator.gumbel(size=(queries, 8))
    return Choices(features, scores.argmax(axis=1), np.ones((queries, 8), dtype=np.bool_))


def test_planted_weights_are_found() -> None:
    weights = fit_linear(choices_of(queries=3000), seed=0, schedule=replace(LINEAR, epochs=20, rate=2e-2))
    np.testing.assert_allclose(weights, [2.0, -1.0, 0.0], atol=0.2)


def test_a_network_sees_what_a_line_cannot() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(1500, 6, 2)).astype(np.float32)
    chosen = (features[:, :, 0] * features[:, :, 1]).argmax(axis=1)
    choices = Choices(features, chosen, np.ones((1500, 6), dtype=np.bool_))
    linear = features @ fit_linear(choices, seed=0)
    weights, network = fit_network(choices, 16, seed=0, schedule=replace(NETWORK, epochs=15, rate=1e-2))
    scores = features @ weights + np.stack([network.apply(row) for row in features])
    assert (scores.argmax(axis=1) == chosen).mean() > 0.8
    assert (linear.argmax(axis=1) == chosen).mean() < 0.5


def test_fitting_is_reproducible_and_leaves_torch_alone() -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    told: list[float] = []
    first = fit_network(choices_of(), 4, seed=3, progress=told.append)
    second = fit_network(choices_of(), 4, seed=3)
    other = fit_network(choices_of(), 4, seed=4)
    assert np.array_equal(first[1].weight1, second[1].weight1)
    assert not np.array_equal(first[1].weight1, other[1].weight1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert told == sorted(told)
    assert all(0 <= share <= 1 for share in told)


def test_invalid_candidates_do_not_count() -> None:
    whole = choices_of()
    valid = whole.valid.copy()
    features = whole.features.copy()
    padding = np.full((len(whole), 2, 3), 50.0, dtype=np.float32)
    padded = Choices(
        np.concatenate([features, padding], axis=1),
        whole.chosen,
        np.concatenate([valid, np.zeros((len(whole), 2), dtype=np.bool_)], axis=1),
    )
    np.testing.assert_allclose(fit_linear(padded, seed=0), fit_linear(whole, seed=0), atol=1e-5)
    np.testing.assert_allclose(padded.standard().mean, whole.standard().mean, atol=1e-6)


def test_a_constant_feature_is_harmless() -> None:
    features = choices_of().features.copy()
    features[:, :, 2] = 7.0
    choices = replace(choices_of(), features=features)
    standard = choices.standard()
    assert standard.scale[2] == 1.0
    assert not choices.standardised(standard).features[:, :, 2].any()
