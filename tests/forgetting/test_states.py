"""Whatever is done to a system, in whatever order, what was forgotten stays forgotten, and nothing else is lost.

``python -m benchmarks.forget_states --steps 10000`` is the same at length.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.forgetting.machine import machines
from tests.forgetting.pair import Tally, small_system

EXAMPLES, STEPS = 6, 40


@pytest.mark.integration
def test_forgetting_holds_in_any_sequence_of_commands(tmp_path: Path) -> None:
    small_system(tmp_path / "template")
    tally = Tally()
    run_state_machine_as_test(
        machines(tmp_path / "template", tally),  # type: ignore[arg-type]
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a step costs too much for shrinking
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert tally.steps >= EXAMPLES * STEPS // 2
    assert min(tally.removals, tally.crashes, tally.rebuilds, tally.twins) > 0
