from __future__ import annotations

import numpy as np
import pytest

from benchmarks.methods import unlearning_descents
from benchmarks.methods.compact_model import likelihoods
from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_descents import ascent, further, gap, label_flip, negative_preference
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


def test_the_gap_is_what_the_forgotten_gained_more_over_the_base_than_the_reserve(case: Case) -> None:
    def gained(people: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
        models = (case.original.model(), case.base.model)
        now, before = (likelihoods(each, case.base.vocabulary, case.of(people), 8) for each in models)
        return float((now - before).mean())

    assert gap(case, case.original) == pytest.approx(gained(case.gone) - gained(case.reserve))
    assert gap(case, case.original) > 0.5
    assert abs(gap(case, case.without[0])) < 0.5


def test_a_descent_stops_where_the_forgotten_are_as_likely_as_the_reserve(case: Case) -> None:
    made = negative_preference(case)
    assert gap(case, made) <= 0.0
    assert made.seconds > 0.0


def test_flipped_labels_make_the_forgotten_less_likely(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot become less likely than by chance, as the reserve is here: the original is sure of itself."""
    monkeypatch.setattr(unlearning_descents, "MOST_STEPS", 100)
    assert gap(case, label_flip(case, 1e-2)) < gap(case, case.original) / 2


def test_a_descent_that_does_not_get_there_ends(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlearning_descents, "MOST_STEPS", 30)
    assert 0.0 < gap(case, ascent(case)) < gap(case, case.original)


def test_further_training_on_the_others_brings_them_nearer_too(case: Case) -> None:
    made = further(case, 5)
    assert gap(case, made) < gap(case, case.original)
