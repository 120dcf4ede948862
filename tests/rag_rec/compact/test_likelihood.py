from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from rag_rec.compact.adapter import Deltas
from rag_rec.compact.likelihood import Likelihood
from rag_rec.compact.sequences import NO_TARGET
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.influence.curvature import Samples
from rag_rec.influence.removal import Effort, Rest, Trained, gradient_at_stop, without
from tests.rag_rec.compact.circling import CPU, KNOWN, a_base, windows

# No history is longer than a window: cut anew for other people, those who stay would not pull alike on both sides.
SETTINGS = AdapterSettings(epochs=40, rate=1e-2, dropout=0.0, batch=4, context=16)
GONE, KEPT, STRANGERS = range(2), range(2, 18), range(18, 24)


def samples(people: range) -> list[Samples]:
    return Likelihood(a_base(), KNOWN).samples(windows(SETTINGS, people).batches(0))


def trained(people: range) -> Deltas:
    training = AdapterTraining(a_base(), windows(SETTINGS, people), KNOWN, SETTINGS, CPU)
    for _ in range(SETTINGS.epochs):
        training.epoch(lambda _: None)
    return training.deltas()


def mean_loss(deltas: Deltas, people: range) -> float:
    return float(torch.cat([batch.losses(deltas) for batch in samples(people)]).mean())


@pytest.fixture(scope="module")
def deltas() -> Deltas:
    return trained(range(18))


def test_the_losses_are_those_of_the_whole_model(deltas: Deltas) -> None:
    base = a_base()
    base.requires_grad_(False)
    weights = {name: weight + deltas.get(name, torch.zeros(())) for name, weight in base.named_parameters()}
    for batch, found in zip(windows(SETTINGS).batches(0), samples(range(24)), strict=True):
        logits = functional_call(base, weights, (torch.from_numpy(batch.tokens),)).logits[..., :KNOWN]
        targets = torch.from_numpy(batch.targets)
        expected: Tensor = functional.cross_entropy(logits[targets != NO_TARGET], targets[targets != NO_TARGET])
        assert float(found.losses(deltas).mean()) == pytest.approx(float(expected), abs=1e-5)


def test_a_removal_makes_people_less_likely_and_spares_the_others(deltas: Deltas) -> None:
    """A round of a network that is not quadratic goes a part of the way, and further ones go on; that it goes all of it
    where the loss is, the tests of the removal show."""
    stop = gradient_at_stop(deltas, deltas, 0.0, samples(range(18)))
    rest, again = Rest(samples(KEPT), samples(KEPT)), trained(KEPT)
    after = [without(Trained(deltas, deltas, 0.0, stop), rest, Effort(0.1, 20, rounds)).weights for rounds in (1, 2)]
    gone = [mean_loss(each, GONE) for each in (deltas, *after, again)]
    kept = [mean_loss(each, KEPT) for each in (deltas, *after)]
    assert gone[0] + 0.1 < gone[1] < gone[2] < gone[3]
    assert abs(kept[1] - kept[0]) < 0.1 * (gone[1] - gone[0])
