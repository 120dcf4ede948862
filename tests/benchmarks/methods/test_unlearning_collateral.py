from __future__ import annotations

import numpy as np
import pytest

from benchmarks.methods.unlearning_case import Case
from benchmarks.methods.unlearning_collateral import THIRDS, Collateral, likeness
from tests.benchmarks.methods.memorised import a_case


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return a_case(tmp_path_factory.mktemp("kept"))


def test_likeness_is_the_cosine_to_the_nearest(case: Case) -> None:
    found = likeness(case)
    for place, person in enumerate(case.retained.tolist()):
        own = set(case.histories[person].tolist())
        theirs = [set(case.histories[other].tolist()) for other in case.gone.tolist()]
        assert found[place] == pytest.approx(max(len(own & each) / np.sqrt(len(own) * len(each)) for each in theirs))


def test_rows_are_thirds_and_the_kept_out_is_behind_nothing(case: Case) -> None:
    collateral = Collateral(case)
    assert sorted(place for places in collateral.thirds.values() for place in places) == list(range(40))
    row = collateral.row(collateral.kept_out)
    assert all(row[f"behind a retraining, {name}"] == 0.0 for name in THIRDS)
    one = collateral.alike(case.without[0])
    assert one.shape == (40,)
    assert (one > 1.0 / 3.0).all()  # it is one of the three that it is compared with
