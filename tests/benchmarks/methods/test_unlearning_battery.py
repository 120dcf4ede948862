from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.methods.unlearning_battery import Battery
from rag_rec.evaluation.audit.battery import FORGOTTEN, OUTSIDERS, RETAINED, STRATA
from tests.benchmarks.methods.memorised import ITEMS, WIDTH, a_case, a_validation


@pytest.fixture(scope="module")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Battery:
    case = a_case(tmp_path_factory.mktemp("kept"))
    return Battery(case, validation=a_validation(case))


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


def test_what_is_fused_is_what_an_adapter_says_of_each_persons_candidates(battery: Battery) -> None:
    view, lists = battery.original, a_validation(battery.case).asked[0]
    gate, gains = battery.fused(view, RETAINED), []
    for place, person in enumerate(battery.groups[RETAINED].tolist()):
        items = [item for item in lists.items[person].tolist() if item >= 0]
        ranked = sorted(items, key=lambda item: -view.asked[RETAINED][place, item])
        rank = ranked.index(battery.case.answers[person]) if battery.case.answers[person] in ranked else 10
        gains.append(1.0 / np.log2(rank + 2) if rank < 10 else 0.0)
    assert gate is not None and gate.llm == pytest.approx(np.mean(gains), abs=1e-6)
    assert gate.users == len(gains) and gate.fused is not None
    assert gate != battery.fused(view, OUTSIDERS)
    assert Battery(battery.case, drawn=False).fused(view, RETAINED) is None


def test_a_view_has_a_row_for_each_person_asked(battery: Battery) -> None:
    for group, count in ((FORGOTTEN, 20), (RETAINED, 40), (OUTSIDERS, 40)):
        assert battery.original.asked[group].shape == (count, ITEMS)
        assert battery.original.states[group].shape == (count, WIDTH)


def test_several_adapters_say_the_mean_of_their_probabilities(battery: Battery) -> None:
    one, other = battery.case.original, battery.case.without[0]
    both = battery.view(one, other)
    alone = [battery.view(each).asked[OUTSIDERS] for each in (one, other)]
    assert np.allclose(np.exp(both.asked[OUTSIDERS]), np.mean(np.exp(alone), axis=0))
    same = battery.view(one, one)
    assert np.allclose(same.reading.likelihood, battery.original.reading.likelihood)
    assert np.allclose(same.states[FORGOTTEN], battery.original.states[FORGOTTEN])


def test_strata_are_thirds_of_the_forgotten_by_how_well_the_original_knows_them(battery: Battery) -> None:
    original = battery.case.original
    faint = replace(original, deltas={name: 0.3 * delta for name, delta in original.deltas.items()})
    found = battery.strata(battery.view(faint))
    assert list(found) == list(STRATA)
    assert found[STRATA[0]] < found[STRATA[2]]
    kept_out, whole = battery.strata(battery.kept_out), battery.attacks(battery.kept_out)["rmia"].auc
    assert np.average(list(kept_out.values()), weights=[7, 7, 6]) == pytest.approx(whole, abs=1e-4)


def test_retrainings_serve_as_references_and_none_is_its_own(battery: Battery) -> None:
    alone = Battery(battery.case, drawn=False)
    assert alone.attacks(alone.original)["rmia"].auc > 0.95
    assert abs(alone.attacks(alone.kept_out)["rmia"].auc - 0.5) < 0.2
    assert alone.verdict(alone.kept_out).passed
    assert not alone.verdict(alone.original).passed
