from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks.methods.json_scores import ATTEMPTS, Outcome, prompt_text, rank, read, valid_answer
from benchmarks.simulated_prompts import catalogue, prompts
from rag_rec.generators.protocol import Prompt


@pytest.fixture(scope="module")
def prompt() -> Prompt:
    return prompts(catalogue(0), users=1, evidence=3, candidates=5, seed=0)[0]


@pytest.mark.parametrize(
    ("answer", "scores"),
    [
        ('Here you are: {"12": 80, "7": 3} and more {"1": 1}', {"12": 80.0, "7": 3.0}),
        ('{\n"12": 80,\n"7": 3.5\n}', {"12": 80.0, "7": 3.5}),
        ('{"12": 80, "7":', None),
        ('{"title": 80}', None),
        ("{1: 2}", None),
        ("{}", None),
        ('{"1": [1]}', None),
        ("no object", None),
    ],
)
def test_what_can_be_read(answer: str, scores: dict[str, float] | None) -> None:
    assert read(answer) == scores


def test_a_valid_answer_ranks(prompt: Prompt) -> None:
    outcome = Outcome()
    asked = [candidate.item_id for candidate in prompt.candidates]
    scores = {item: place for place, item in enumerate(asked)}
    assert rank(prompt, lambda _: json.dumps(scores), outcome) == asked[::-1]
    assert rank(prompt, lambda _: valid_answer(prompt), outcome) == asked
    assert (outcome.users, outcome.invalid, outcome.fallbacks, outcome.failures.total()) == (2, 0, 0, 0)


def test_failures_are_counted_and_asked_again(prompt: Prompt) -> None:
    outcome = Outcome()
    answers: Iterator[str] = iter(["nothing", "{", valid_answer(prompt)])
    asked = [candidate.item_id for candidate in prompt.candidates]
    assert rank(prompt, lambda _: next(answers), outcome) == asked
    assert (outcome.invalid, outcome.failures["unreadable"]) == (0, 2)
    assert rank(prompt, lambda _: "nothing", outcome) == asked
    assert (outcome.invalid, outcome.fallbacks, outcome.failures["unreadable"]) == (1, 1, 2 + ATTEMPTS)


def test_missing_and_invented_items_are_counted(prompt: Prompt) -> None:
    outcome = Outcome()
    first, *others = [candidate.item_id for candidate in prompt.candidates]
    scores = dict.fromkeys([*others[:-1], "999999", "888888"], 50)
    ranked = rank(prompt, lambda _: json.dumps(scores), outcome)
    assert sorted(ranked) == sorted([first, *others])
    assert set(ranked[-2:]) == {first, others[-1]}
    assert (outcome.invalid, outcome.failures["missing"], outcome.failures["invented"]) == (1, 2, 2)


def test_the_question_shows_the_history_and_the_candidates(prompt: Prompt) -> None:
    text = prompt_text(prompt)
    for candidate in prompt.candidates:
        assert f"{candidate.item_id} : {prompt.item(candidate.item_id).text}." in text
    for line in prompt.evidence:
        assert line.value is not None
        assert f"{prompt.item(line.item_id).text}, and scored it {20 * line.value:.0f}." in text
