"""Random sequences of commands to a small real system, against a model, at length.

``python -m benchmarks.forget_states --steps 10000`` runs at least that many: events, recommendations, exports, removals
of every scope, consents, holds, rebuilds, other generations, backups, restores and crashes
(:mod:`tests.rag_rec.forgetting.machine`). After each, the store must equal the model; after each removal no byte of it
may be left, its receipt must be complete and the ledger whole; now and then the whole state must equal its twin's.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, Final

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.report import Row, write_results
from tests.rag_rec.forgetting.machine import machines
from tests.rag_rec.forgetting.pair import Tally, small_system

SEED: Final = 0
SEQUENCE: Final = 60
"""Steps from one fresh system."""


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=10_000, help="how many steps to take at least")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    print(write_results("forget_states", [run(arguments.steps, arguments.seed)], arguments.seed))  # noqa: T201


def run(steps: int, seed: int) -> Row:
    """Take at least so many steps. Raises ``AssertionError``, with the sequence, at the first that goes wrong."""
    tally, started = Tally(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="rag-rec-") as folder:
        template = Path(folder) / "template"
        small_system(template)
        for each in count(seed):
            _take(template, tally, each, -(-(steps - tally.steps) // SEQUENCE))
            if tally.steps >= steps:
                break
    return {"name": "steps", **asdict(tally), "seconds": round(time.perf_counter() - started, 1)}


def _take(template: Path, tally: Tally, seed: int, sequences: int) -> None:
    factory: Any = hypothesis.seed(seed)(machines(template, tally))
    run_state_machine_as_test(
        factory,
        settings=hypothesis.settings(
            max_examples=sequences,
            stateful_step_count=SEQUENCE,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


if __name__ == "__main__":
    main()
