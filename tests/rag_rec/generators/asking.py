"""What the tests of the vLLM client ask, and what should come back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from rag_rec.generators.failures import GeneratorFailure, Reason
from rag_rec.generators.protocol import Encoded, Floats
from rag_rec.generators.vllm import VllmBackend

LONG = 30.0  # seconds; only a test that fails waits so long
QUESTION = Encoded((1, 2, 3), (9, 4, None, 7))
Open = Callable[..., VllmBackend]


def position_score(prompt: Sequence[int], label: int) -> float:
    """Tells prompts, their order and labels apart."""
    return -1.0 - sum((place + 1) * token for place, token in enumerate(prompt)) / 100 - label / 10_000


def expected(question: Encoded) -> Floats:
    scores = [math.nan if label is None else position_score(question.tokens, label) for label in question.labels]
    return np.array(scores)


def failure(backend: VllmBackend, seconds: float = LONG, question: Encoded = QUESTION) -> Reason:
    """The reason of the failure, which has to come before the deadline."""
    deadline = time.monotonic() + seconds
    with pytest.raises(GeneratorFailure) as raised:
        backend.label_log_probabilities([question], deadline)
    assert time.monotonic() < deadline + 5.0  # generous: the machine may be busy
    return raised.value.reason
