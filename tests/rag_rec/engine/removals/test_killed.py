"""The removal process is killed while its service lives: what the benchmark of crashes does to it, and sees of it.

``python -m benchmarks.forget_crash`` does the same at length, and kills services, too.
"""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.methods import children
from benchmarks.methods.crash_attempts import APART, Attempt, attempts_apart
from benchmarks.methods.crash_cases import CANARIES, CASES, Case, Expected, expectation, prepare
from benchmarks.methods.crash_examination import OTHER, Examination, examine, examine_living, quoted
from benchmarks.methods.crash_rehearsal import Rehearsal
from benchmarks.methods.interruptions import Point, stopped_at
from benchmarks.methods.removal_service import outlive
from rag_rec.engine.engine import Engine
from rag_rec.settings import Settings
from tests.homes import engine_of, settings_for

WHOLE, PART, BATCH = (case for case in CASES if case.served)
LAST = "rag_rec.forgetting.receipts.conclusion:ReceiptIssuer.copy_ledger"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("template") / "home").home


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    shutil.copytree(template, tmp_path / "home")
    return settings_for(tmp_path / "home")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = engine_of(settings)
    yield engine
    engine.close()


def expected_of(settings: Settings, case: Case) -> Expected:
    with closing(engine_of(settings)) as engine:
        return expectation(engine, case)


@pytest.mark.parametrize(
    ("case", "point", "accepted"),
    [
        (WHOLE, Point("rag_rec.store.acceptance:suppress", 1, "after"), False),
        (BATCH, Point("rag_rec.index.files_layer:FilesLayer.remove", 1, "after"), True),
        (PART, Point(LAST, 1), True),
        (WHOLE, None, False),
    ],
)
def test_a_service_outlives_its_removal_process(
    settings: Settings, case: Case, point: Point | None, accepted: bool
) -> None:
    expected = expected_of(settings, case)
    assert outlive(settings, case, expected, point, delay=0.0) == (1, Examination(accepted=accepted))
    assert multiprocessing.active_children() == []
    rest = expected.without(OTHER.request.user_ids)
    assert examine(settings, case, rest, "resume") == Examination(accepted=True)


def test_where_nothing_was_killed_nothing_is_examined(settings: Settings) -> None:
    expected = expected_of(settings, WHOLE)
    assert outlive(settings, WHOLE, expected, Point(LAST, 99), delay=0.0) == (0, Examination())


def test_an_answer_that_says_otherwise_is_found(engine: Engine) -> None:
    expected = expectation(engine, WHOLE)
    outcome = engine.officer.forget(quoted(WHOLE, expected))
    found = examine_living(engine, WHOLE, expected, replace(outcome, repeated=True))
    assert found == Examination(incomplete=["answered as complete, repeated: True"])


def test_what_a_service_leaves_is_found(engine: Engine) -> None:
    expected = expectation(engine, WHOLE)
    outcome = engine.officer.forget(quoted(WHOLE, expected))
    (engine.settings.home / "copy").write_bytes(b"..." + CANARIES[0].encode())
    assert examine_living(engine, WHOLE, expected, outcome).left_behind == ["bytes in copy"]


def test_what_goes_on_after_an_interruption_is_whole(engine: Engine) -> None:
    expected, met = expectation(engine, WHOLE), list[str]()
    with stopped_at(Point(LAST, 1), lambda: met.append("before")), stopped_at(Point(LAST, 1, "after"), met.clear):
        outcome = engine.officer.forget(quoted(WHOLE, expected))
    assert met == []
    assert examine_living(engine, WHOLE, expected, outcome) == Examination()


def test_a_process_that_goes_on_without_its_starter_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LEFT_SECONDS", 0.01)
    here, there = multiprocessing.Pipe(duplex=False)
    with here:
        with there, pytest.raises(ChildProcessError, match="went on"):
            children._wait_for_end(here)
        children._wait_for_end(here)


def test_services_and_their_removal_processes_are_killed_by_turns() -> None:
    calls = {"rag_rec.artifacts.destruction:_fill": 2, "a:once": 1}
    expected = Expected("", {}, frozenset(), ())
    rehearsals = [Rehearsal(case, expected, calls, 9, 1.0, 2.0 if case.served else None) for case in CASES]
    drawn: list[Attempt] = list(islice(attempts_apart(rehearsals, np.random.default_rng(0)), 10 * len(APART)))
    assert [(each.victim, each.point is not None) for each in drawn] == [*APART] * 10
    assert {each.seconds for each in drawn} == {2.0}
    assert {each.rehearsal.case.name for each in drawn} == {case.name for case in CASES if case.served}
    halfway = [each for each in drawn if each.point and each.point.when == "halfway"]
    assert {each.victim for each in halfway} == {"removals"}
    assert not any(each.again for each in drawn if each.victim == "removals")
    assert {each.kind for each in drawn} == {
        "removal_process_at_steps",
        "removal_process_at_random",
        "service_of_removal_process",
    }
