"""The wire format: label log-probabilities asked of, and read from, ``POST /v1/completions`` of vLLM.

One token is generated and thrown away; what counts are the log-probabilities at its position. Prompts travel as token
ids, so that no second tokenizer can see them differently.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from rag_rec.generators.exchange import KIBIBYTE, Shape, read_shape
from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Encoded, Floats

MOST_LABELS = 128
"""vLLM accepts at most so many ``logprob_token_ids`` (vllm/sampling_params.py, ``MAX_LOGPROB_TOKEN_IDS``)."""

TOKEN = "token_id:"  # noqa: S105 - how vLLM writes a token, not a password

UNREADABLE = "The server's answer cannot be read."

BYTES_BESIDE = 64 * KIBIBYTE
BYTES_A_LABEL = 256
"""An answer may have so many bytes for each log-probability (vLLM uses about 40), and so many beside them."""


@dataclass(frozen=True, slots=True)
class Capability:
    """How a server gives log-probabilities.

    Attributes:
        exact: it takes ``logprob_token_ids`` and gives those of exactly these tokens.
        most: otherwise, of how many of the likeliest tokens it gives them (``--max-logprobs``).
    """

    exact: bool
    most: int = MOST_LABELS


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions that fit into one request because they share their labels and their salt."""

    prompts: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    salt: str = ""


def labels_of(question: Encoded) -> tuple[int, ...]:
    """Its labels in ascending order, so that questions with the same labels can share a request.

    Raises:
        GeneratorFailure: more labels than a server gives log-probabilities of.
    """
    labels = tuple(sorted(label for label in question.labels if label is not None))
    if len(labels) > MOST_LABELS:
        message = f"vLLM ranks at most {MOST_LABELS} candidates in one pass, not {len(labels)}. Ask with fewer."
        raise GeneratorFailure(Reason.REFUSED, message)
    return labels


def request_body(model: str, batch: Batch, capability: Capability) -> dict[str, Any]:
    """The JSON of a request. Without ``logprob_token_ids`` only labels among the likeliest tokens come back."""
    labels = list(batch.labels)
    body: dict[str, Any] = {
        "model": model,
        "prompt": [list(prompt) for prompt in batch.prompts],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": len(labels) if capability.exact else capability.most,
        "return_tokens_as_token_ids": True,
        **({"logprob_token_ids": labels} if capability.exact else {"allowed_token_ids": labels}),
    }
    if batch.salt:  # hashed: servers restrict its length and its characters
        body["cache_salt"] = hashlib.sha256(batch.salt.encode()).hexdigest()
    return body


def most_bytes(batch: Batch, capability: Capability) -> int:
    """How long the answer to a batch may be."""
    values = len(batch.labels) if capability.exact else max(capability.most, len(batch.labels))
    return BYTES_BESIDE + BYTES_A_LABEL * len(batch.prompts) * values


class _LogProbabilities(Shape):
    top_logprobs: list[dict[str, float | None]] = Field(min_length=1)


class _Choice(Shape):
    index: int
    logprobs: _LogProbabilities


class _Completion(Shape):
    choices: list[_Choice]


def read_answer(content: bytes, prompts: int) -> list[dict[int, float]]:
    """For each prompt the log-probability of every token that came back.

    Raises:
        GeneratorFailure: the answer is broken off or of another form, or holds NaN or null.
    """
    choices = read_shape(_Completion, content, UNREADABLE).choices
    answered = {choice.index: choice for choice in choices}
    if len(choices) != prompts or answered.keys() != set(range(prompts)):
        raise GeneratorFailure(Reason.BROKEN, f"The server did not answer each of the {prompts} prompts once.")
    found = [_tokens(answered[prompt].logprobs.top_logprobs[0]) for prompt in range(prompts)]
    if any(math.isnan(value) for each in found for value in each.values()):
        raise GeneratorFailure(Reason.NOT_A_NUMBER, "The server gave a log-probability that is no number.")
    return found


def in_order(question: Encoded, found: dict[int, float]) -> Floats:
    """Float64 [n] in the order of the candidates, NaN where nothing came back."""
    return np.array([np.nan if label is None else found.get(label, np.nan) for label in question.labels], np.float64)


def batches(questions: Sequence[Encoded], most_prompts: int) -> list[tuple[Batch, list[int]]]:
    """Group the questions into requests of at most ``most_prompts``; each with the positions of its questions.

    Questions without any label are in no group.
    """
    groups: dict[tuple[tuple[int, ...], str], list[int]] = {}
    for position, question in enumerate(questions):
        if labels := labels_of(question):
            groups.setdefault((labels, question.salt), []).append(position)
    return [
        (Batch(tuple(questions[position].tokens for position in chunk), labels, salt), chunk)
        for (labels, salt), positions in groups.items()
        for chunk in (positions[start : start + most_prompts] for start in range(0, len(positions), most_prompts))
    ]


def _tokens(top: dict[str, float | None]) -> dict[int, float]:
    try:
        return {int(token.removeprefix(TOKEN)): math.nan if value is None else value for token, value in top.items()}
    except ValueError:
        raise GeneratorFailure(Reason.BROKEN, UNREADABLE) from None
