"""Whatever is done to a system, in whatever order, what was forgotten stays forgotten, and nothing else is lost.

``python -m benchmarks.forget_states --steps 10000`` is the same at length.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.rag_rec.forgetting.machine import machines
from tests.rag_rec.forgetting.pair import Tally, small_system

EXAMPLES, STEPS = 6, 40
ROUNDS = 10
"""Hypothesis leaves some rules out of each sequence, so that a round lacks crashes, or restores, about once in four
times. Others follow until every kind has occurred: ten in a row lack one by chance once in some 500,000 runs."""


@pytest.mark.integration
def test_forgetting_holds_in_any_sequence_of_commands(tmp_path: Path) -> None:
    template, tally = tmp_path / "template", Tally()
    small_system(template)
    for _ in range(ROUNDS):
        take_a_round(template, tally)
        if not tally.lacking():
            break
    assert tally.steps >= EXAMPLES * STEPS // 2
    assert tally.lacking() == []


def take_a_round(template: Path, tally: Tally) -> None:
    # A seed of its own: a derandomized profile, or a seed on the command line, would make every round the same.
    factory: Any = hypothesis.seed(random.getrandbits(64))(machines(template, tally))
    run_state_machine_as_test(
        factory,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a step costs too much for shrinking
            suppress_health_check=list(HealthCheck),
        ),
    )
