from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.methods.unlearning_case import VALIDATION
from benchmarks.methods.unlearning_category import LEAST, MOST, Category, Examination, genres_of
from tests.benchmarks.methods.memorised import ITEMS, a_case

GENRES = [frozenset({("Drama", "Comedy", "War")[item % 3]}) for item in range(ITEMS)]


@pytest.fixture(scope="module")
def category(tmp_path_factory: pytest.TempPathFactory) -> Category:
    return Category(a_case(tmp_path_factory.mktemp("kept")), GENRES)


def test_genres_stand_behind_the_year() -> None:
    texts = ["Alien (1979) Action, Horror", "Seven (Se7en) (1995) Crime", "unknown unknown"]
    assert genres_of(texts) == [{"Action", "Horror"}, {"Crime"}, set()]


def test_people_lose_one_genre_and_nothing_else(category: Category) -> None:
    case, trimmed = category.case, category.trimmed
    assert len(category.people) > 10
    for person in range(len(case.histories)):
        whole, rest = case.histories[person].tolist(), trimmed.histories[person].tolist()
        genre = category.lost.get(person)
        assert rest == [item for item in whole if genre not in GENRES[item]]
        if genre:
            assert LEAST <= len(whole) - len(rest) <= MOST * len(whole)
    assert trimmed.answers.tolist() == case.answers.tolist()
    assert [len(history) - VALIDATION for _, history in trimmed.benchmark.histories] == list(
        map(len, trimmed.histories)
    )


def test_the_original_remembers_what_a_retraining_does_not(category: Category) -> None:
    examination = Examination(category)
    before, after = (examination.row(examination.view(each)) for each in (category.case.original, category.without[-1]))
    assert before["auc, lost choices"] > 0.9 > after["auc, lost choices"]
    assert before["kept choices, nats more likely"] == 0.0
    assert after["jsd"] < before["jsd"]


def test_who_has_no_such_genre_loses_nothing(category: Category) -> None:
    rare = replace(category, genres=[frozenset({"Drama"})] * ITEMS)
    assert rare.lost == {}
    assert np.array_equal(rare.trimmed.histories[0], category.case.histories[0])
