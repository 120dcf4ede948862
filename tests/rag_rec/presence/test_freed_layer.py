"""Freed memory: pending until the processes that ran at the time of an erasure have ended, then proven."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.engine.engine import Engine
from rag_rec.engine.tending import open_saga
from rag_rec.errors import DiskFull
from rag_rec.forgetting.receipts.document import findings_in, read_receipt
from rag_rec.forgetting.receipts.outlook import Outlook
from rag_rec.home.opening import store_of
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.records import ForgetState
from rag_rec.presence import processes as module
from rag_rec.presence.freed_layer import FreedMemory
from rag_rec.presence.hosts import this_process_space
from rag_rec.presence.processes import SILENT_MS, born, enter, leave, look
from rag_rec.store import open_store
from rag_rec.store.protocol import Store
from rag_rec.store.records import ServiceProcess
from tests.homes import running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, log

NOW = 1_800_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")) as store:
        yield store


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until it is ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def listed(process: int, epoch: int, name: str = "child") -> ServiceProcess:
    return ServiceProcess(name, this_process_space(), process, born(process), epoch, NOW)


def freed(engine: Engine, request_id: str) -> Finding:
    return next(each for each in findings_in(engine.officer.receipt(request_id)) if each.layer is LayerName.FREED)


def test_it_is_pending_while_a_process_runs_that_began_before(store: Store, child: subprocess.Popen[bytes]) -> None:
    store.put_process(listed(child.pid, 4))
    found = FreedMemory(store).of(5)
    assert (found.status, found.until, found.detail["running"]) == (Status.PENDING, None, 1)
    assert FreedMemory(store).of(4).status is Status.PROVEN  # the process began after that
    end(child)
    assert FreedMemory(store).of(5).status is Status.PROVEN


def test_without_a_process_it_is_proven(store: Store) -> None:
    assert FreedMemory(store).of(5).status is Status.PROVEN


def test_a_number_that_another_process_has_got_is_no_running_process(
    store: Store, child: subprocess.Popen[bytes]
) -> None:
    store.put_process(replace(listed(child.pid, 4), born=born(child.pid) + 1))
    assert FreedMemory(store).of(5).status is Status.PROVEN


def test_a_process_elsewhere_is_waited_for_until_it_says_that_it_ends(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "now_ms", lambda: NOW)
    far = ServiceProcess("far", "another-host", 1, 1, 4, NOW - SILENT_MS)
    store.put_process(far)
    assert FreedMemory(store).of(5).status is Status.PENDING
    leave(store, far)
    assert FreedMemory(store).of(5).status is Status.PROVEN


def test_of_a_process_elsewhere_that_fell_silent_nothing_is_claimed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "now_ms", lambda: NOW)
    store.put_process(ServiceProcess("far", "another-host", 1, 1, 4, NOW - SILENT_MS - 1))
    assert FreedMemory(store).of(5).status is Status.OUT_OF_SCOPE


def test_a_process_that_runs_is_noted_to_run(store: Store) -> None:
    own = enter(store)
    assert (own.process, own.born, own.epoch) == (os.getpid(), born(os.getpid()), 0)
    store.mark_processes([own.id], ended=False, seen=1)
    (seen,) = look(store)
    assert seen.seen >= own.seen


def test_those_that_ended_stay_on_the_list_while_an_older_one_runs(
    store: Store, child: subprocess.Popen[bytes]
) -> None:
    store.put_process(listed(child.pid, 1, "old"))
    store.put_process(replace(listed(child.pid, 2, "new"), ended=True))
    FreedMemory(store).settle()
    assert [each.id for each in store.processes()] == ["old", "new"]
    end(child)
    FreedMemory(store).settle()
    assert store.processes() == []


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def test_a_request_is_complete_and_its_receipt_says_what_is_final_later(engine: Engine) -> None:
    outcome = forget(engine.officer, CANARY)
    assert outcome.state == "complete"
    assert freed(engine, outcome.request_id).status is Status.PENDING
    (record,) = engine.officer.forget_records(outcome.request_id)
    told = Outlook.of(record)
    assert told.waits_for == () and [each.layer for each in told.later] == [LayerName.FREED]
    assert "restart the services" in told.words()["final later"][0]


def test_a_later_revision_says_that_the_processes_have_ended(
    engine: Engine, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (own,) = engine.store.processes()
    engine.store.put_process(replace(own, id="child", process=child.pid, born=born(child.pid)))
    engine.store.drop_processes([own.id])
    monkeypatch.setattr(engine.attendance, "remain", lambda: None)
    request_id = forget(engine.officer, CANARY).request_id
    engine.refresh()
    receipt = engine.officer.receipt(request_id)
    assert freed(engine, request_id).status is Status.PENDING
    end(child)
    engine.refresh()
    assert freed(engine, request_id).status is Status.PROVEN
    assert read_receipt(engine.officer.receipt(request_id))["revision"] == read_receipt(receipt)["revision"] + 1
    assert engine.officer.forget_records(request_id)[0].state is ForgetState.COMPLETE
    engine.refresh()
    assert engine.store.processes() == []


def test_a_service_that_others_took_off_the_list_goes_on_it_again(engine: Engine) -> None:
    (own,) = engine.store.processes()
    engine.store.drop_processes([own.id])
    engine.refresh()
    assert engine.store.processes() == [own]


def test_a_service_that_closes_says_that_it_ends_and_a_program_does_not(tmp_path: Path) -> None:
    for joins in (False, True):
        engine = running(tmp_path / str(joins), log())
        settings = engine.settings
        if joins:
            engine.attendance.join()
        engine.close()
        with closing(store_of(settings)) as store:
            assert [each.ended for each in store.processes()] == [joins]


def test_where_no_process_is_left_the_command_brings_receipts_up_to_date(engine: Engine) -> None:
    request_id = forget(engine.officer, CANARY).request_id
    engine.store.drop_processes([each.id for each in engine.store.processes()])
    saga = open_saga(engine.settings, engine.store)
    assert saga.look_later() == 0  # nothing is known to have ended
    assert saga.look_later(all_of_them=True) == 1
    assert freed(engine, request_id).status is Status.PROVEN
    assert saga.look_later(all_of_them=True) == 0


def test_a_store_that_takes_no_writes_keeps_back_no_process(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: ServiceProcess) -> None:
        raise DiskFull("The disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr(store, "put_process", full)
        own = enter(store)
    assert store.processes() == []
    store.put_process(own)
    assert store.processes() == [own]
