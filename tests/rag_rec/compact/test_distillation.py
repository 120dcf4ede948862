from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import LlamaForCausalLM

from rag_rec.compact.distillation import Distillation, Interleaved, Saw, Split, Teachers, parts_at_random
from rag_rec.compact.sequences import NO_TARGET, Batch
from rag_rec.compact.training import AdapterSettings, AdapterTraining
from rag_rec.errors import InvalidInput
from tests.rag_rec.compact.circling import CPU, KNOWN, a_base, windows

SETTINGS = AdapterSettings(epochs=3, rate=1e-2, dropout=0.0, decay=0.0, batch=4, context=8)
PEOPLE = windows(SETTINGS).sequences
PARTS = parts_at_random(len(PEOPLE), 3, 0)


def distillation(split: Split, settings: AdapterSettings = SETTINGS) -> Distillation:
    return Distillation(a_base(), PEOPLE, split, KNOWN, 1, settings, CPU)


def models(count: int) -> list[LlamaForCausalLM]:
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(copy.deepcopy(a_base()))
        torch.nn.init.normal_(found[-1].lm_head.weight, generator=torch.Generator().manual_seed(seed))
    return found


def probabilities(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    model.train(mode=False)
    with torch.no_grad():
        logits = model(torch.from_numpy(batch.tokens)).logits[..., :KNOWN]
    return functional.softmax(logits[torch.from_numpy(batch.targets != NO_TARGET)], dim=-1)


def reads(training: AdapterTraining) -> set[int]:
    """The first items of the people of a training: each person here has their own."""
    batches: Sequence[Batch] = training._windows.batches(0)
    return {int(row[1]) for batch in batches for row in batch.tokens if row[0] == 0}


def first_items(people: np.ndarray[tuple[int], np.dtype[np.int64]]) -> set[int]:
    return {int(PEOPLE[person].items[0]) for person in people.tolist()}


@pytest.mark.parametrize("split", [Split.others(PARTS, 3), Split.own(PARTS, 3)])
def test_no_teacher_of_a_person_saw_the_person(split: Split) -> None:
    for part in range(3):
        teachers = [number for number in range(3) if not split.saw[number, part]]
        assert teachers
        for number in teachers:
            assert not set(split.learners(number)) & set(split.of(part))


def test_people_are_read_by_the_teachers_that_may_and_by_the_student() -> None:
    settings = replace(SETTINGS, context=64)
    few = PEOPLE[:20]  # each begins with an item of their own
    split = Split.others(parts_at_random(20, 2, 0), 2)
    made = Distillation(a_base(), few, split, KNOWN, 1, settings, CPU)
    for number in range(2):
        assert reads(made.teacher(number)) == first_items(split.of(1 - number))
    assert reads(made.student(models(2))) == first_items(np.arange(20))
    assert reads(made.student(models(2), read=[1])) == first_items(split.of(1))


def test_targets_are_the_mean_of_those_that_never_saw_the_part() -> None:
    saw: Saw = np.eye(3, dtype=np.bool_)
    made = models(3)
    taught = Teachers(made, saw, KNOWN, CPU)
    for part in range(3):
        batch = replace(windows(SETTINGS).batches(0)[0], part=part)
        others = [probabilities(made[number], batch) for number in range(3) if number != part]
        assert torch.allclose(taught(batch), sum(others, torch.zeros(())) / 2, atol=1e-6)
        assert not torch.allclose(taught(batch), probabilities(made[part], batch), atol=1e-2)


def test_the_loss_is_the_divergence_from_the_teacher_and_what_the_teacher_cannot_know() -> None:
    settings = replace(SETTINGS, rate=0.0, epochs=1)
    split, made = Split.others(parts_at_random(len(PEOPLE), 2, 0), 2), models(2)
    student = distillation(split, settings).student(made)
    total, count = 0.0, 0
    for batch in student._windows.batches(0):
        expected, own = probabilities(made[batch.part], batch), probabilities(a_base(), batch)
        divergence = (expected * (expected / own).log()).sum()
        entropy = -(expected * expected.log()).sum()
        total, count = total + float(divergence + entropy), count + len(expected)
    assert student.epoch(lambda _: None) == pytest.approx(total / count, rel=1e-5)


def test_the_student_comes_near_to_its_teachers_and_they_stay_as_they_are() -> None:
    settings = replace(SETTINGS, epochs=40)
    split, made = Split.others(parts_at_random(len(PEOPLE), 2, 0), 2), models(2)
    before = [{name: weight.clone() for name, weight in model.state_dict().items()} for model in made]
    student = distillation(split, settings).student(made)
    losses = [student.epoch(lambda _: None) for _ in range(settings.epochs)]
    assert losses[-1] < 0.8 * losses[0]
    for model, weights in zip(made, before, strict=True):
        assert not model.training
        assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())


def test_the_whole_is_its_trainings_one_after_the_other() -> None:
    made, base = distillation(Split.own(PARTS, 3)), a_base()
    teachers = []
    for number in range(3):
        training = made.teacher(number)
        for _ in range(SETTINGS.epochs):
            training.epoch(lambda _: None)
        teachers.append(training._model)
    student = made.student(teachers)
    for _ in range(SETTINGS.epochs):
        student.epoch(lambda _: None)
    found = made.deltas()
    assert all(torch.allclose(found[name], delta, atol=1e-5) for name, delta in student.deltas().items())
    assert all(torch.equal(weight, made.base.state_dict()[name]) for name, weight in base.state_dict().items())


def test_an_interrupted_student_goes_on() -> None:
    settings = replace(SETTINGS, dropout=0.2)
    made, teachers = distillation(Split.own(PARTS, 3), settings), models(3)
    whole, first, second = (made.student(teachers) for _ in range(3))
    losses = [whole.epoch(lambda _: None) for _ in range(3)]
    first.epoch(lambda _: None)
    second.resume(first.state())
    assert [second.epoch(lambda _: None) for _ in range(2)] == losses[1:]


def test_batches_are_of_one_part_each_and_hold_everybody_once() -> None:
    split = Split.own(PARTS, 3)
    read = [
        replace(windows(SETTINGS), sequences=[PEOPLE[each] for each in split.of(part)], part=part) for part in range(3)
    ]
    batches = Interleaved(read, 0).batches(1)
    assert sorted({batch.part for batch in batches}) == [0, 1, 2]
    assert sum(int((batch.targets != NO_TARGET).sum()) for batch in batches) == sum(len(each.items) for each in PEOPLE)
    assert [batch.part for batch in batches] != sorted(batch.part for batch in batches)


def test_parts_are_of_equal_size() -> None:
    assert np.bincount(parts_at_random(11, 3, 0)).tolist() == [4, 4, 3]
    assert parts_at_random(11, 3, 0).tolist() != parts_at_random(11, 3, 1).tolist()


@pytest.mark.parametrize(("people", "parts"), [(10, 1), (10, 0), (3, 4)])
def test_what_cannot_be_split_is_refused(people: int, parts: int) -> None:
    with pytest.raises(InvalidInput, match="choose at least 2 parts"):
        parts_at_random(people, parts, 0)


def test_a_split_without_a_teacher_for_everybody_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 2"):
        Split.own(np.zeros(4, dtype=np.int64), 1)
    with pytest.raises(InvalidInput, match="do not fill 3 parts"):
        Split.own(np.array([0, 1, 1, 0]), 3)
    with pytest.raises(InvalidInput, match="a teacher that does not see it"):
        Split(PARTS, np.array([[True, True, False], [True, False, True]]))
    with pytest.raises(InvalidInput, match="split these people"):
        replace(distillation(Split.own(PARTS, 3)), people=PEOPLE[:5])
