"""Processes that forget people are killed: the next one finds the person untouched, or completes the removal.

``python -m benchmarks.forget_crash --kills 500`` is the same at length.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.forget_crash import KINDS
from benchmarks.methods.crash_cases import CANARIES, CASES, Case, Expected, expectation, prepare
from benchmarks.methods.crash_examination import Examination, Recovery, examine
from benchmarks.methods.interruptions import HALVES, PLACES, Point, counted, points_of, stopped_at
from rag_rec.artifacts.digests import MANIFEST, file_digest
from rag_rec.domain import Interaction, RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.errors import Unfinished
from rag_rec.forgetting.receipts.document import read_receipt
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.home.opening import store_of
from rag_rec.index.generation import Generations
from rag_rec.layers.finding import LayerName
from rag_rec.settings import Settings
from tests.homes import engine_of, settings_for
from tests.rag_rec.forgetting.asking import confirmed
from tests.rag_rec.forgetting.homes import DAY, number_of
from tests.rag_rec.store.removing import delete_interactions

ROOT = Path(__file__).resolve().parents[3]
KILLS = 40
WHOLE = CASES[0]


class Interrupted(BaseException):
    """Stands for the death of the process."""


def interrupt() -> None:
    raise Interrupted


@pytest.mark.integration
def test_killed_at_any_step_or_moment_a_removal_is_completed_and_nothing_is_lost_or_left() -> None:
    command = [sys.executable, "-m", "benchmarks.forget_crash", "--kills", str(KILLS), "--seed", "11", "--print"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    row: dict[str, Any] = orjson.loads(done.stdout)
    assert row["count"] >= KILLS
    assert row["at_steps"] >= KILLS // 3
    assert min(row["at_file_operations"], row["at_random"]) > 0
    assert min(row["removal_process_at_steps"], row["service_of_removal_process"]) > 0
    assert sum(row[kind] for kind in KINDS) + row["again_while_recovering"] == row["count"]
    assert KILLS // 4 < row["accepted_before"] < row["count"]
    assert {row[kind] for kind in ("left_behind", "incomplete", "lost", "ledger_broken")} == {0}, done.stderr


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("template") / "home").home


@pytest.fixture
def settings(template: Path, tmp_path: Path) -> Settings:
    shutil.copytree(template, tmp_path / "home")
    return settings_for(tmp_path / "home")


def expected_of(settings: Settings, case: Case) -> Expected:
    engine = engine_of(settings)
    try:
        return expectation(engine, case)
    finally:
        engine.close()


def number_in(settings: Settings, user_id: str) -> int:
    store = store_of(settings)
    try:
        return number_of(store, user_id)
    finally:
        store.close()


def interrupted(settings: Settings, case: Case, point: Point) -> None:
    """Begin a request in this process and give up at a point."""
    engine = engine_of(settings)
    request = confirmed(engine.officer, case.request)
    with stopped_at(point, interrupt), pytest.raises(Interrupted):
        engine.officer.forget(request)
    engine.close()


def test_the_prepared_system_holds_the_people_everywhere(settings: Settings) -> None:
    expected = expected_of(settings, WHOLE)
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    held = {
        path.relative_to(settings.home).parts[:2]
        for path in files
        for mark in expected.marks
        if mark in path.read_bytes()
    }
    assert sum(place[0] == "generations" for place in held) == 3  # two generations and an unfinished build
    assert any(place[-1] == "store.sqlite3" for place in held)
    assert list((settings.compact / "training").iterdir())


def test_a_removal_calls_every_place_at_which_it_is_interrupted(settings: Settings) -> None:
    engine = engine_of(settings)
    request = confirmed(engine.officer, WHOLE.request)
    with counted() as calls:
        engine.officer.forget(request)
    engine.close()
    assert set(calls) == set(PLACES)
    assert HALVES.keys() <= set(PLACES)


@pytest.mark.parametrize("recovery", ["service", "resume", "repeat"])
@pytest.mark.parametrize("place", ["rag_rec.store.acceptance:suppress", "rag_rec.artifacts.immutable:Folders.destroy"])
def test_an_interruption_is_examined_as_what_it_is(settings: Settings, place: str, recovery: Recovery) -> None:
    expected = expected_of(settings, WHOLE)
    interrupted(settings, WHOLE, Point(place, 1, "after"))
    accepted = "acceptance" not in place
    assert examine(settings, WHOLE, expected, recovery) == Examination(accepted=accepted)


def leave_a_copy(settings: Settings) -> None:
    (settings.home / "copy").write_bytes(b"..." + CANARIES[0].encode("utf-16-le"))


def lose_an_interaction(settings: Settings) -> None:
    store = store_of(settings)
    number = number_of(store, "user-2")
    delete_interactions(store, number, [store.interactions(number)[0].number])
    store.close()


def break_the_ledger(settings: Settings) -> None:
    lines = settings.ledger_file.read_bytes().splitlines(keepends=True)
    settings.ledger_file.write_bytes(b"".join([lines[1], *lines[1:]]))


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(leave_a_copy, "left_behind"), (lose_an_interaction, "lost"), (break_the_ledger, "ledger_broken")],
)
def test_an_examination_finds_what_is_wrong(settings: Settings, harm: Callable[[Settings], None], kind: str) -> None:
    expected = expected_of(settings, WHOLE)
    interrupted(settings, WHOLE, Point("rag_rec.forgetting.receipts.conclusion:ReceiptIssuer.issue", 1))
    harm(settings)
    found = examine(settings, WHOLE, expected, "resume")
    assert getattr(found, kind)


def test_an_examination_finds_a_removal_that_is_not_completed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = expected_of(settings, WHOLE)
    interrupted(settings, WHOLE, Point("rag_rec.index.files_layer:FilesLayer.remove", 1))
    for module in ("index.files_layer", "places.cleaning"):  # neither the layer nor the folder's own cleaning works
        monkeypatch.setattr(f"rag_rec.{module}.erase_from_files", lambda *_: None)
    found = examine(settings, WHOLE, expected, "resume")
    assert found.incomplete
    assert found.left_behind


def test_an_examination_finds_rows_that_changed_without_a_request(settings: Settings) -> None:
    expected = expected_of(settings, WHOLE)
    store = store_of(settings)
    store.append([Interaction(CANARIES[0], "item-11", 900 * DAY, "like")])
    store.close()
    assert examine(settings, WHOLE, expected, "service").lost


def test_points_are_spread_over_the_calls() -> None:
    points = points_of({"a:once": 1, "a:never": 0, "rag_rec.artifacts.destruction:_fill": 9}, most=3)
    assert [(each.nth, each.when) for each in points if each.place == "a:once"] == [(1, "before"), (1, "after")]
    assert [each.nth for each in points if each.when == "halfway"] == [1, 5, 9]


def test_a_whole_batch_is_interrupted_as_one(settings: Settings) -> None:
    batch = CASES[-1]
    expected = expected_of(settings, batch)
    interrupted(settings, batch, Point("rag_rec.forgetting.receipts.conclusion:write_receipt", 2))
    engine: Engine = engine_of(settings)
    assert engine.officer.pending() == []
    outcome = engine.officer.forget(ForgetRequest(CANARIES, confirm=batch.request.subject, plan=expected.plan))
    engine.close()
    assert (outcome.repeated, outcome.state, len(outcome.requests)) == (True, "complete", 3)


def test_a_removal_that_cannot_be_finished_is_in_force_and_goes_as_far_as_it_can(settings: Settings) -> None:
    generations = Generations(settings.generations)
    number = number_in(settings, CANARIES[0])
    engine = engine_of(settings)
    shard = generations.current().folder / "profiles" / f"{number:02d}.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    request = confirmed(engine.officer, WHOLE.request)
    for _ in range(2):
        with pytest.raises(Unfinished, match=rf"in force.*{generations.current_id()}"):
            engine.officer.forget(request)
    assert not engine.recommend(RecommendationRequest(CANARIES[0])).provenance.known_user
    (pending,) = engine.officer.pending()
    receipt = read_receipt(engine.officer.receipt(pending.request_id))
    assert (receipt["state"], receipt["revision"]) == ("hidden", 1)
    assert open_in(receipt) == {LayerName.INDICES}  # the steps after it are done
    shard.write_bytes(content)
    engine.refresh()
    assert engine.officer.pending() == []
    receipt = read_receipt(engine.officer.receipt(pending.request_id))
    assert (receipt["state"], receipt["revision"], open_in(receipt)) == ("complete", 2, set())
    assert receipt["generation"]["after"] == file_digest(generations.current().folder / MANIFEST).sha256
    engine.close()


def open_in(receipt: dict[str, Any]) -> set[str]:
    """The layers for which a request waits."""
    pending = {line["layer"] for line in receipt["layers"] if line["status"] == "PENDING"}
    return {layer for layer in pending if LayerName(layer).holds_back}


def test_a_damaged_index_that_is_not_in_use_does_not_keep_a_removal_back(settings: Settings) -> None:
    generations = Generations(settings.generations)
    number = number_in(settings, CANARIES[0])
    old = next(name for name in generations.names() if name != generations.current_id())
    shard = generations.root / old / "profiles" / f"{number:02d}.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    engine = engine_of(settings)
    assert engine.officer.forget(confirmed(engine.officer, WHOLE.request)).state == "complete"
    assert generations.names() == [generations.current_id()]
    engine.close()


def test_a_full_disk_leaves_a_removal_in_force(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(settings.home / CANARIES[0]))

    engine = engine_of(settings)
    request = confirmed(engine.officer, WHOLE.request)
    with monkeypatch.context() as patched:
        patched.setattr("rag_rec.index.files_layer.erase_from_files", full)
        with pytest.raises(Unfinished, match=r"No space left on device$"):
            engine.officer.forget(request)
        engine.refresh()
        assert len(engine.officer.pending()) == 1
        with closing(engine_of(settings)) as started:  # no service is kept from answering
            assert not started.recommend(RecommendationRequest(CANARIES[0])).provenance.known_user
    assert engine.officer.forget(request).state == "complete"
    engine.close()
