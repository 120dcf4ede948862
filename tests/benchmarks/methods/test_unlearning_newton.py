from __future__ import annotations

import pytest

from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_influence import influence
from benchmarks.methods.unlearning_newton import Start, newton, stop_of
from rag_rec.influence.removal import Effort
from rag_rec.influence.vectors import add, norm
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


@pytest.fixture(scope="module")
def start(case: Case) -> Start:
    deltas = case.original.deltas
    return Start(case, case.retained, deltas, stop_of(case, case.members, deltas))


def test_the_first_step_is_that_of_a_removal(case: Case, start: Start) -> None:
    effort = Effort(1e-2, 10, careful=False)
    expected = influence(case, effort, None).deltas
    found = newton(start, effort)
    step = add(expected, start.deltas, -1.0)
    assert norm(add(found, expected, -1.0)) < 1e-3 * norm(step)


def test_nothing_pulls_where_everybody_remains(case: Case, start: Start) -> None:
    whole = Start(case, case.members, start.deltas, start.stop)
    assert norm(whole.pull) < 1e-4 * norm(start.pull)
