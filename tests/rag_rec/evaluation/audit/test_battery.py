"""A battery over made-up adapters: what is planted in a view has to be found, and a further retraining has to pass."""

from __future__ import annotations

import numpy as np
import pytest

from rag_rec.evaluation.audit.attacks import Reading
from rag_rec.evaluation.audit.battery import FORGOTTEN, MOST_ASKED, OUTSIDERS, RETAINED, Battery, Groups, View, others
from rag_rec.evaluation.membership import Floats

GROUPS = Groups(np.arange(30), np.arange(30, 120), np.arange(120, 180))
ITEMS, WIDTH, SEED = 15, 6, 3
COMMON = np.random.default_rng(0)
ORDINARY = -4.0 + COMMON.normal(size=180)
SAID = {name: COMMON.normal(size=(len(people), ITEMS)) for name, people in GROUPS.asked(SEED).items()}
STATES = {name: COMMON.normal(size=(len(people), WIDTH)) for name, people in GROUPS.asked(SEED).items()}


def logs(scores: Floats) -> Floats:
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def view(seed: int, remembers: float = 0.0, moved: float = 0.0) -> View:
    """A training: noise of its own; it may remember the forgotten, or say something else to everybody."""
    draws = np.random.default_rng([1, seed])
    likely = ORDINARY + 0.1 * draws.normal(size=180)
    likely[GROUPS.retained] += 1.0
    likely[GROUPS.forgotten] += remembers * np.linspace(0.0, 2.0, 30)
    noise = {name: 0.2 * draws.normal(size=said.shape) for name, said in SAID.items()}
    drift = {name: moved * draws.normal(size=said.shape) for name, said in SAID.items()}
    asked = {name: logs(said + noise[name] + drift[name]) for name, said in SAID.items()}
    states = {name: each + 0.1 * draws.normal(size=each.shape) for name, each in STATES.items()}
    return View(Reading(likely, likely - 1.0, np.exp(likely)), asked, states)


@pytest.fixture(scope="module")
def battery() -> Battery:
    retrainings = [view(seed) for seed in range(1, 7)]
    return Battery(GROUPS, view(0, remembers=1.0), retrainings, others(retrainings[:-1], ORDINARY - 1.0), SEED)


def test_a_further_training_passes_and_what_remembers_people_fails(battery: Battery) -> None:
    assert battery.verdict(battery.kept_out).passed
    assert battery.verdict(view(77)).passed
    verdict = battery.verdict(battery.original)
    assert {"attack, rmia", "attack, likelihood", "likelihood, forgotten less outsiders"} <= set(verdict.failed)
    assert battery.attacks(battery.original)["rmia"].auc > 0.9


def test_what_forgets_by_saying_something_else_to_everybody_fails_by_its_distance(battery: Battery) -> None:
    damaged = view(88, moved=1.0)
    verdict = battery.verdict(damaged)
    assert {f"divergence, {name}" for name in (FORGOTTEN, RETAINED, OUTSIDERS)} <= set(verdict.failed)
    assert "overlap of lists, retained" in verdict.failed
    assert "attack, rmia" not in verdict.failed
    assert battery.nearer(damaged).p > 0.05


def test_the_third_that_is_remembered_least_is_a_negative_control() -> None:
    retrainings, original = [view(seed) for seed in range(1, 7)], view(0, remembers=0.25)
    battery = Battery(GROUPS, original, retrainings, others(retrainings[:-1], ORDINARY - 1.0), SEED)
    least, middle, most = battery.strata(original).values()
    assert least < middle < most
    assert abs(least - 0.5) < 0.35 and most > 0.95


def test_a_view_is_never_its_own_reference() -> None:
    retrainings = [view(seed) for seed in range(1, 5)]
    references = others(retrainings, ORDINARY)
    assert len(references(view(9)).likelihood) == 4
    assert len(references(retrainings[1]).likelihood) == 3
    assert not references(retrainings[1]).saw.any()


def test_of_a_large_group_only_some_are_asked() -> None:
    large = Groups(np.arange(10), np.arange(10, 1000), np.arange(1000, 1010))
    asked = large.asked(SEED)
    assert {name: len(people) for name, people in asked.items()} == {FORGOTTEN: 10, RETAINED: MOST_ASKED, OUTSIDERS: 10}
    assert set(asked[RETAINED].tolist()) <= set(large.retained.tolist())
    assert np.array_equal(asked[RETAINED], large.asked(SEED)[RETAINED])
