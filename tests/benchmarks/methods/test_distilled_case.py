from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.methods.distilled_case import DistilledCase, Teaching
from tests.benchmarks.methods.memorised import a_case


def test_a_student_and_its_teachers_are_kept_for_the_next_run(tmp_path: Path) -> None:
    plain = a_case(tmp_path)
    made = DistilledCase.taught_by(plain, Teaching(2)).original
    assert len(list(tmp_path.iterdir())) == 3
    found = DistilledCase.taught_by(plain, Teaching(2)).original
    assert found.seconds == pytest.approx(made.seconds)
    assert all(torch.equal(found.deltas[name], delta) for name, delta in made.deltas.items())
    assert plain.original.seconds < made.seconds
    assert len(list(tmp_path.iterdir())) == 4


def test_ways_to_teach_are_told_apart(tmp_path: Path) -> None:
    plain = a_case(tmp_path)
    short = replace(plain.settings, epochs=2)
    for number, teaching in enumerate([Teaching(2), Teaching(2, rank=2), Teaching(2, own=True), Teaching(3)]):
        DistilledCase.taught_by(replace(plain, settings=short), teaching).original  # noqa: B018 - trains
        assert len(list(tmp_path.iterdir())) == (3, 4, 7, 11)[number]


def test_teachers_have_settings_of_their_own(tmp_path: Path) -> None:
    plain = a_case(tmp_path)
    short = replace(plain, settings=replace(plain.settings, epochs=2))
    taught = DistilledCase.taught_by(short, Teaching(2, settings=plain.settings)).original
    again = DistilledCase.taught_by(plain, Teaching(2)).original
    assert len(list(tmp_path.iterdir())) == 4, "the teachers are the same"
    assert taught.seconds < again.seconds
