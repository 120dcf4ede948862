from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.methods.distilled_case import DistilledCase
from benchmarks.methods.unlearning_case import Case
from tests.benchmarks.methods.memorised import a_case


def distilled(plain: Case, **how: object) -> DistilledCase:
    drawn = (plain.benchmark, plain.base, plain.forgotten, plain.retrainings, plain.seed, plain.settings, plain.kept)
    return DistilledCase(*drawn, **how)  # type: ignore[arg-type]


def test_a_student_and_its_teachers_are_kept_for_the_next_run(tmp_path: Path) -> None:
    plain = a_case(tmp_path)
    made = distilled(plain).original
    assert len(list(tmp_path.iterdir())) == 3
    found = distilled(plain).original
    assert found.seconds == pytest.approx(made.seconds)
    assert all(torch.equal(found.deltas[name], delta) for name, delta in made.deltas.items())
    assert plain.original.seconds < made.seconds
    assert len(list(tmp_path.iterdir())) == 4


def test_ways_to_distil_are_told_apart(tmp_path: Path) -> None:
    plain = a_case(tmp_path)
    distilled(plain).original  # noqa: B018 - trains
    distilled(plain, student_epochs=2).original  # noqa: B018 - trains, with the same teachers
    assert len(list(tmp_path.iterdir())) == 4
    distilled(plain, parts=3, own=True).original  # noqa: B018 - trains
    assert len(list(tmp_path.iterdir())) == 8
