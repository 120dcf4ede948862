"""Ranking as CRAGRU's code does it (arXiv 2511.05494): the LLM writes a JSON object of scores, and code reads it.

Written anew from a description of the published code: raw text without a chat template, one user at a time, up to 512
new tokens, the first brace group without letters is parsed, and an answer that cannot be read is asked for again, five
times in all. After that the published code falls back to the order of the candidates without a word; here it is
counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from rag_rec.generators.protocol import Prompt

MOST_NEW_TOKENS = 512
ATTEMPTS = 5
OBJECT = re.compile(r"\{[^a-zA-Z{}]*\}")

Write = Callable[[str], str]
"""Continues a text."""


@dataclass(slots=True)
class Outcome:
    """What became of the answers.

    Attributes:
        users: how many were asked for.
        failures: ``unreadable`` counts attempts without a JSON object of scores; ``missing`` and ``invented`` count
            items in the answers that could be read.
        fallbacks: users whose every attempt failed.
        invalid: users whose final answer was not exactly the candidates.
    """

    users: int = 0
    fallbacks: int = 0
    invalid: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def prompt_text(prompt: Prompt) -> str:
    """The question as raw text: the task, the format, the history, the candidates."""
    history = [f"- {prompt.item(line.item_id).text}, and scored it {_score(line.value)}." for line in prompt.evidence]
    candidates = [f"{each.item_id} : {prompt.item(each.item_id).text}." for each in prompt.candidates]
    parts = [
        "Predict from the history below how much the user will like each candidate, from 1 to 100.",
        "1. Answer with one JSON object and nothing else.\n2. Its keys are the numbers of the candidates."
        "\n3. Its values are whole numbers from 1 to 100.\n4. Every candidate appears exactly once.",
        "### History:\n" + "\n".join(history),
        "### Candidates:\n" + "\n".join(candidates),
        "Now write the JSON object of scores for all candidates.\n",
    ]
    return "\n\n".join(parts)


def rank(prompt: Prompt, write: Write, outcome: Outcome) -> list[str]:
    """Ids of the candidates, best first; the candidates' own order where no attempt could be read."""
    asked = [candidate.item_id for candidate in prompt.candidates]
    outcome.users += 1
    text = prompt_text(prompt)
    for _ in range(ATTEMPTS):
        scores = read(write(text))
        if scores is not None:
            return _ordered(asked, scores, outcome)
        outcome.failures["unreadable"] += 1
    outcome.fallbacks += 1
    outcome.invalid += 1
    return asked


def read(answer: str) -> dict[str, float] | None:
    """The scores in an answer, or None where there are none that can be read."""
    found = OBJECT.search(answer)
    if found is None:
        return None
    try:
        scores = json.loads(found[0])
        return {str(item): float(score) for item, score in scores.items()} or None
    except (ValueError, TypeError):
        return None


def _ordered(asked: Sequence[str], scores: Mapping[str, float], outcome: Outcome) -> list[str]:
    missing = [item for item in asked if item not in scores]
    invented = scores.keys() - set(asked)
    outcome.failures["missing"] += len(missing)
    outcome.failures["invented"] += len(invented)
    outcome.invalid += bool(missing or invented)
    return sorted(asked, key=lambda item: -scores.get(item, 0.0))


def valid_answer(prompt: Prompt) -> str:
    """An answer as it should be, to count its tokens."""
    return json.dumps({each.item_id: 99 - place for place, each in enumerate(prompt.candidates)})


@dataclass(frozen=True, slots=True)
class Writer:
    """Continues texts with a Hugging Face model, token by token with its cache, greedily.

    ``tokens``: exactly so many new ones; None: until the model ends, at most :data:`MOST_NEW_TOKENS`.
    """

    model: Any
    tokenizer: Any
    tokens: int | None = None

    def __call__(self, text: str) -> str:
        """The continuation, without the text."""
        asked = self.tokenizer(text, return_tensors="pt").to(self.model.device)
        bounds = {"min_new_tokens": self.tokens} if self.tokens else {}
        with torch.inference_mode():
            [written] = self.model.generate(
                input_ids=asked.input_ids,
                attention_mask=asked.attention_mask,
                max_new_tokens=self.tokens or MOST_NEW_TOKENS,
                do_sample=False,
                **bounds,
            )
        return str(self.tokenizer.decode(written[asked.input_ids.shape[1] :], skip_special_tokens=True))


def _score(stars: float | None) -> int:
    return 20 * round(stars or 0)
