"""Training is compared with the obvious way: explicit differences, added to the frozen base at every step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from rag_rec.compact.adapter import trained_weights
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.errors import InvalidInput
from tests.rag_rec.compact.circling import CPU, FIRST_ITEM, KNOWN, a_base, windows

SETTINGS = AdapterSettings(epochs=4, rate=1e-2, dropout=0.2, batch=4, context=8)


def training_of(settings: AdapterSettings) -> AdapterTraining:
    return AdapterTraining(a_base(), windows(settings), KNOWN, settings, CPU)


def run(training: AdapterTraining, epochs: int) -> list[float]:
    return [training.epoch(lambda _: None) for _ in range(epochs)]


def obvious(settings: AdapterSettings) -> dict[str, Tensor]:
    """The differences after all epochs, without dropout."""
    base = a_base()
    frozen = {name: weight.detach() for name, weight in base.named_parameters()}
    deltas = {name: torch.zeros_like(weight, requires_grad=True) for name, weight in trained_weights(base).items()}
    optimiser = torch.optim.AdamW(deltas.values(), 1.0, (0.9, 0.98), weight_decay=settings.decay)
    for epoch in range(settings.epochs):
        batches = windows(settings).batches(epoch)
        for place, batch in enumerate(batches):
            weights = frozen | {name: frozen[name] + delta for name, delta in deltas.items()}
            logits = functional_call(base, weights, (torch.from_numpy(batch.tokens),)).logits[..., :KNOWN]
            loss = functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(batch.targets).flatten())
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(deltas.values(), settings.clip)
            optimiser.param_groups[0]["lr"] = settings.rate_at((epoch + place / len(batches)) / settings.epochs)
            optimiser.step()
    return {name: delta.detach() for name, delta in deltas.items()}


def test_differences_are_those_of_the_obvious_way() -> None:
    settings = replace(SETTINGS, dropout=0.0, decay=0.5, epochs=2)
    training = training_of(settings)
    run(training, settings.epochs)
    for name, expected in obvious(settings).items():
        assert torch.allclose(training.deltas()[name], expected, atol=2e-4), name


def test_it_learns_what_comes_next() -> None:
    losses = run(training_of(replace(SETTINGS, epochs=30)), 30)
    assert losses[0] > 0.8 * math.log(KNOWN)
    assert losses[-1] < 0.5 * losses[0]


def test_norms_and_rows_that_nobody_met_stay_as_they_were() -> None:
    base = a_base()
    before = {name: weight.detach().clone() for name, weight in base.named_parameters()}
    training = AdapterTraining(base, windows(SETTINGS), KNOWN, SETTINGS, CPU)
    run(training, 2)
    deltas = training.deltas()
    for name, weight in base.named_parameters():
        assert torch.equal(weight, before[name]) == (name not in deltas)
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        assert deltas[name][FIRST_ITEM:KNOWN].any()
        assert not deltas[name][KNOWN:].any()


def test_a_resumed_training_equals_one_that_was_never_interrupted() -> None:
    whole = training_of(SETTINGS)
    losses = run(whole, SETTINGS.epochs)
    first, second = training_of(SETTINGS), training_of(SETTINGS)
    run(first, 2)
    torch.rand(7)
    second.resume(first.state())
    assert second.finished == 2
    assert run(second, 2) == losses[2:]
    for name, delta in whole.deltas().items():
        assert torch.equal(second.deltas()[name], delta)
    for name, array in whole.state().arrays.items():
        assert np.array_equal(second.state().arrays[name], array)


def test_the_seed_decides() -> None:
    assert run(training_of(SETTINGS), 1) == run(training_of(SETTINGS), 1)
    assert run(training_of(SETTINGS), 1) != run(training_of(replace(SETTINGS, seed=1)), 1)


def test_dropout_is_over_when_the_epoch_is() -> None:
    base = a_base()
    run(AdapterTraining(base, windows(SETTINGS), KNOWN, SETTINGS, CPU), 1)
    tokens = torch.tensor([[0, 6, 7]])
    with torch.no_grad():
        assert torch.equal(base(tokens).logits, base(tokens).logits)
    assert not any(module._forward_hooks for module in base.modules())


def test_progress_ends_with_the_whole() -> None:
    told: list[float] = []
    training_of(SETTINGS).epoch(told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_large_catalogues_are_learned_from_a_sample() -> None:
    settings = replace(SETTINGS, epochs=30, sampled_above=10, negatives=10)
    losses = run(training_of(settings), 30)
    assert losses[-1] < 0.5 * losses[0]


def test_the_rate_rises_then_falls() -> None:
    rates = [AdapterSettings(rate=1.0, warm_up=0.1).rate_at(share) for share in (0.0, 0.05, 0.1, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] > 0.9
    assert rates[2] > rates[3] > rates[4] == pytest.approx(0.02)


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"rank": 0}, {"dropout": 1.0}, {"batch": -1}])
def test_settings_that_cannot_be_trained_with_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        replace(AdapterSettings(), **wrong)


@pytest.mark.parametrize("wrong", [{"shards": 0}, {"shards": 65, "reserve": 0.1}, {"together": -1}, {"shards": 2}])
def test_shards_that_cannot_be_trained_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        AdapterSettings(**wrong)


def test_settings_without_shards_have_the_content_that_they_had_before_there_were_any() -> None:
    """Checkpoints, manifests and kept trainings of earlier versions are found again."""
    plain = AdapterSettings(reserve=0.1).content()
    assert not {"shards", "together"} & plain.keys()
    assert AdapterSettings(reserve=0.1, shards=2).content() == {**plain, "shards": 2, "together": 6}
