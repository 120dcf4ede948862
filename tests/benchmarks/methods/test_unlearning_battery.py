from __future__ import annotations

import numpy as np
import pytest

from benchmarks.methods.unlearning_battery import FORGOTTEN, OUTSIDERS, RETAINED, STRATA, Battery
from tests.benchmarks.methods.memorised import ITEMS, WIDTH, a_case


@pytest.fixture(scope="module")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    return Battery(a_case(tmp_path_factory.mktemp("kept")))


def test_the_adapter_from_before_is_convicted_and_a_retraining_is_not(battery: Battery) -> None:
    convicted = battery.verdict(battery.original)
    assert not convicted.passed
    assert any(name.startswith("attack") for name in convicted.failed)
    assert battery.verdict(battery.kept_out).passed
    assert battery.attacks(battery.original)["rmia"].auc > 0.95


def test_a_retraining_is_nearer_to_the_others_than_the_original_is(battery: Battery) -> None:
    found = battery.nearer(battery.kept_out)
    assert found.change < 0.0
    assert found.p < 0.01
    assert battery.nearer(battery.original).change == 0.0


def test_gains_are_those_of_the_place_among_what_is_not_known(battery: Battery) -> None:
    view, case = battery.original, battery.case
    found = battery.gains(view, RETAINED)
    for place, person in enumerate(battery.groups[RETAINED].tolist()):
        rest = [item for item in range(ITEMS) if item not in case.histories[person]]
        ranked = sorted(rest, key=lambda item: -view.asked[RETAINED][place, item])
        rank = ranked.index(case.answers[person])
        assert found[place] == pytest.approx(1.0 / np.log2(rank + 2) if rank < 10 else 0.0)


def test_a_view_has_a_row_for_each_person_asked(battery: Battery) -> None:
    for group, count in ((FORGOTTEN, 20), (RETAINED, 40), (OUTSIDERS, 40)):
        assert battery.original.asked[group].shape == (count, ITEMS)
        assert battery.original.states[group].shape == (count, WIDTH)


def test_strata_are_thirds_of_the_forgotten_by_how_well_the_original_knows_them(battery: Battery) -> None:
    found = battery.strata(battery.original)
    least, middle, most = (found[name] for name in STRATA)
    assert least <= middle <= most
    assert least < most
    retrained = battery.strata(battery.kept_out)
    assert all(retrained[name] < 0.9 for name in STRATA)
    whole = battery.attacks(battery.kept_out)["rmia"].auc
    assert min(retrained.values()) <= whole <= max(retrained.values())
