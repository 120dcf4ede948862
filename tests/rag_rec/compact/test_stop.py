from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.nn import functional

from rag_rec.compact.adapter import Deltas, trained_weights
from rag_rec.compact.base import Base
from rag_rec.compact.projection import TextProjection
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.stop import (
    FILE,
    Stop,
    owners_of,
    places_of,
    read_stop,
    samples_of,
    shorter,
    usual_damping,
    write_stop,
)
from rag_rec.compact.training import AdapterSettings
from rag_rec.compact.vocabulary import Vocabulary
from rag_rec.domain import Item
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.influence.curvature import total_gradient
from rag_rec.influence.vectors import add, norm
from tests.rag_rec.compact.circling import FIRST_ITEM, ITEMS, KNOWN, a_base

SETTINGS = AdapterSettings(context=4, reserve=0.1)


def base() -> Base:
    vectors = np.random.default_rng(0).normal(size=(ITEMS, 24)).astype(np.float32)
    return Base(a_base(), Vocabulary.of([Item(str(n), "") for n in range(ITEMS)]), TextProjection.of(vectors, 16))


def people(count: int) -> list[TokenSequence]:
    draws = np.random.default_rng(1)
    return [TokenSequence(np.array([0]), FIRST_ITEM + draws.permutation(ITEMS)[: 2 + n % 11]) for n in range(count)]


def some_deltas() -> Deltas:
    draws = torch.Generator().manual_seed(2)
    return {name: 0.1 * torch.randn(each.shape, generator=draws) for name, each in trained_weights(a_base()).items()}


def test_it_is_the_gradient_of_the_mean_over_windows_of_about_equal_length() -> None:
    model, deltas = a_base(), some_deltas()
    weights = trained_weights(model)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.add_(deltas[name])
    losses = []
    for person, lengths in zip(people(7), [(2,), (3,), (4,), (3, 2), (3, 3), (4, 3), (4, 4)], strict=True):
        for first, length in zip(np.cumsum([0, *lengths]).tolist(), lengths, strict=False):
            read = person.items[max(0, first - 1) : first + length]
            tokens = torch.from_numpy(np.concatenate([person.prefix, read]))
            logits = model(tokens[None, :-1]).logits[0, -length:, :KNOWN]
            losses.append(functional.cross_entropy(logits, tokens[-length:]))
    torch.autograd.backward(torch.stack(losses).mean())
    stop = Stop.of(deltas, samples_of(base(), people(7), KNOWN, SETTINGS))
    assert stop.windows == len(losses)
    for name, found in stop.gradient.items():
        expected = weights[name].grad
        assert expected is not None
        assert torch.allclose(found, expected, atol=1e-6)


def test_a_person_pulls_the_same_whoever_else_is_read() -> None:
    deltas = some_deltas()
    gradients = [
        total_gradient(deltas, samples_of(base(), chosen, KNOWN, SETTINGS))
        for chosen in (people(20), people(20)[:7], people(20)[7:])
    ]
    left = add(add(gradients[0], gradients[1], -1.0), gradients[2], -1.0)
    assert norm(left) < 1e-5 * norm(gradients[0])


def test_it_is_read_back_as_written(tmp_path: Path) -> None:
    assert read_stop(tmp_path) is None
    write_stop(tmp_path, Stop(some_deltas(), 12345))
    found = read_stop(tmp_path)
    assert found is not None and found.gradient.keys() == some_deltas().keys() and found.windows == 12345
    assert all(torch.equal(found.gradient[name], each) for name, each in some_deltas().items())


@pytest.mark.parametrize("damaged", [b"damaged", save(dict(some_deltas()))], ids=["no file of tensors", "no windows"])
def test_what_is_damaged_is_not_read(tmp_path: Path, damaged: bytes) -> None:
    write_stop(tmp_path, Stop(some_deltas(), 1))
    (tmp_path / FILE).write_bytes(damaged)
    with pytest.raises(CorruptIndex, match="adapter retrain"):
        read_stop(tmp_path)


def test_an_estimated_softmax_cannot_be_removed_from() -> None:
    with pytest.raises(InvalidInput, match="without a reserve"):
        samples_of(base(), people(3), KNOWN, AdapterSettings(sampled_above=KNOWN - 1))


@pytest.mark.parametrize(("windows", "steps"), [(0, 7), (1, 7), (16, 7), (17, 14), (160, 70)])
def test_the_usual_damping_is_one_divided_by_the_length_of_the_training(windows: int, steps: int) -> None:
    assert usual_damping(AdapterSettings(epochs=7, batch=16), windows) == pytest.approx(4 / 3 / steps)


def test_fewer_windows_go_less_far_and_alike_whether_they_left_at_once_or_one_by_one() -> None:
    deltas = some_deltas()
    at_once, one_by_one = shorter(deltas, 60, 90), shorter(shorter(deltas, 75, 90), 60, 75)
    assert norm(at_once) == pytest.approx((60 / 90) ** 0.4 * norm(deltas))
    assert norm(add(at_once, one_by_one, -1.0)) < 1e-6 * norm(deltas)
    assert norm(add(shorter(deltas, 91, 90), deltas, -1.0)) == 0.0


def test_owners_are_those_whose_choices_the_samples_are() -> None:
    """Each choice of a person is one target; in windows that are shuffled, and put together by length."""
    everybody = people(60)
    samples = samples_of(base(), everybody, KNOWN, SETTINGS)
    targets = torch.cat([batch.targets for batch in samples]).numpy()
    owners, places = owners_of(everybody, SETTINGS), places_of(everybody, SETTINGS)
    assert targets.tolist() == [everybody[owner].items[place] for owner, place in zip(owners, places, strict=True)]
    assert len(set(zip(owners.tolist(), places.tolist(), strict=True))) == sum(len(each.items) for each in everybody)
