"""What every backend promises, as tests that each of them passes: subclass, and give the fixture ``served``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from rag_rec.errors import RagRecError
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Backend, Encoded, Floats

TOKENS = range(4, 64)
"""The items of :func:`tests.rag_rec.generators.models.tiny_item_model`, which is what the contract is written for."""


@dataclass(frozen=True)
class Served:
    """A backend under test, on a tiny item model with two adapters.

    Attributes:
        open: opens another backend of the same model, which the test closes.
        tolerance: how far log-probabilities may lie from the reference.
    """

    backend: Backend
    base: Path
    adapters: tuple[Path, Path]
    open: Callable[[], Backend]
    tolerance: float = 2e-5


class BackendContract:
    """The tests. ``served`` may have any scope: every test sets the adapter that it needs."""

    def test_log_probabilities_are_those_of_the_plain_model(self, served: Served) -> None:
        served.backend.use_adapter(None)
        asked = questions(12)
        agree(served.backend.label_log_probabilities(asked, None), reference(served.base, None, asked), served)

    def test_the_answers_keep_the_order_of_the_questions(self, served: Served) -> None:
        served.backend.use_adapter(None)
        asked = questions(9)
        forwards = served.backend.label_log_probabilities(asked, None)
        backwards = served.backend.label_log_probabilities(asked[::-1], None)
        agree(backwards[::-1], forwards, served)

    def test_no_question_no_answer(self, served: Served) -> None:
        assert served.backend.label_log_probabilities([], None) == []

    def test_a_candidate_without_a_label_has_no_probability(self, served: Served) -> None:
        served.backend.use_adapter(None)
        [all_labels] = served.backend.label_log_probabilities([Encoded((5, 6), (7, 8, 9))], None)
        [some] = served.backend.label_log_probabilities([Encoded((5, 6), (None, 8, None, 9))], None)
        assert np.isnan(some[[0, 2]]).all()
        agree([some[[1, 3]]], [all_labels[[1, 2]]], served)

    def test_the_whole_vocabulary_shares_the_probability(self, served: Served) -> None:
        served.backend.use_adapter(None)
        parts = [tuple(range(start, start + 16)) for start in range(0, 64, 16)]
        answers = served.backend.label_log_probabilities([Encoded((11, 4), part) for part in parts], None)
        assert np.exp(np.concatenate(answers)).sum() == pytest.approx(1.0, abs=64 * served.tolerance)

    def test_every_adapter_answers_as_itself_before_and_after_swaps(self, served: Served) -> None:
        asked = questions(6)
        first, second = served.adapters
        for adapter in (None, first, second, first, None, second, None):
            served.backend.use_adapter(adapter)
            assert served.backend.adapter == (adapter.name if adapter else None)
            found = served.backend.label_log_probabilities(asked, None)
            agree(found, reference(served.base, adapter, asked), served)

    def test_threads_get_the_answers_that_they_would_get_alone(self, served: Served) -> None:
        served.backend.use_adapter(None)
        asked = questions(24)
        groups = [asked[start::6] for start in range(6)]
        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(lambda group: served.backend.label_log_probabilities(group, None), groups))
        for group, answers in zip(groups, found, strict=True):
            agree(answers, reference(served.base, None, group), served)

    def test_an_adapter_that_is_not_there_changes_nothing(self, served: Served) -> None:
        served.backend.use_adapter(served.adapters[0])
        with pytest.raises(RagRecError):
            served.backend.use_adapter(served.adapters[0].with_name("c" * 32))
        assert served.backend.adapter == served.adapters[0].name
        asked = questions(3)
        found = served.backend.label_log_probabilities(asked, None)
        agree(found, reference(served.base, served.adapters[0], asked), served)

    def test_a_swap_under_load_never_mixes_two_adapters(self, served: Served) -> None:
        asked = questions(5)
        choices: list[Path | None] = [None, *served.adapters]
        expected = [np.concatenate(reference(served.base, adapter, asked)) for adapter in choices]
        with ThreadPoolExecutor(4) as threads:
            calls = []
            for adapter in [*choices, *choices]:
                calls += [threads.submit(served.backend.label_log_probabilities, asked, None) for _ in range(4)]
                served.backend.use_adapter(adapter)
            for call in calls:
                found = np.concatenate(call.result())
                assert any(np.allclose(found, each, atol=served.tolerance, equal_nan=True) for each in expected)

    def test_a_past_deadline_is_late(self, served: Served) -> None:
        with pytest.raises(GeneratorFailure) as raised:
            served.backend.label_log_probabilities(questions(2), monotonic() - 1.0)
        assert raised.value.reason is Reason.LATE
        assert len(served.backend.label_log_probabilities(questions(2), monotonic() + 600.0)) == 2

    def test_a_prompt_that_is_too_long_fails_alone(self, served: Served) -> None:
        served.backend.use_adapter(None)
        with pytest.raises(GeneratorFailure):
            served.backend.label_log_probabilities([Encoded((5,) * 5000, (7,))], monotonic() + 600.0)
        asked = questions(2)
        agree(served.backend.label_log_probabilities(asked, None), reference(served.base, None, asked), served)

    def test_a_closed_backend_fails_and_closes_again(self, served: Served) -> None:
        backend = served.open()
        backend.close()
        backend.close()
        with pytest.raises(GeneratorFailure):
            backend.label_log_probabilities(questions(1), monotonic() + 600.0)


def questions(count: int, longest: int = 40, seed: int = 0) -> list[Encoded]:
    """Random prompts of unequal lengths, the first of one token; some candidates have no label."""
    draws = np.random.default_rng(seed)
    lengths = [1, *draws.integers(1, longest + 1, size=count - 1).tolist()]
    return [Encoded(tuple(draws.choice(TOKENS, length).tolist()), _labels(draws)) for length in lengths]


def _labels(draws: np.random.Generator) -> tuple[int | None, ...]:
    labels: list[int | None] = draws.permutation(TOKENS)[: draws.integers(1, 13)].tolist()
    if len(labels) > 3:
        labels[draws.integers(len(labels))] = None
    return tuple(labels)


def reference(base: Path, adapter: Path | None, asked: Sequence[Encoded]) -> list[Floats]:
    """The slow, obvious way: one prompt at a time, every logit, an adapter merged into the weights."""
    model = plain_model(base, adapter)
    found = []
    for question in asked:
        with torch.no_grad():
            logits = model(torch.tensor([question.tokens])).logits[0, -1].double()
        log_probabilities = torch.log_softmax(logits, dim=0).tolist()
        found.append(np.array([np.nan if label is None else log_probabilities[label] for label in question.labels]))
    return found


@cache
def plain_model(base: Path, adapter: Path | None) -> Any:
    """The model in float32 as transformers and PEFT load it, the adapter merged."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return model


def agree(found: Sequence[Floats], expected: Sequence[Floats], served: Served) -> None:
    """Fail unless both have the same shapes, the same gaps, and values within the tolerance."""
    assert [len(each) for each in found] == [len(each) for each in expected]
    left, right = (np.concatenate(each) for each in (found, expected))
    assert np.allclose(left, right, rtol=0.0, atol=served.tolerance, equal_nan=True), np.nanmax(abs(left - right))
