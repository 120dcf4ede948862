from __future__ import annotations

import asyncio
import io
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rag_rec.layers.records import ForgetRecord, ForgetState
from serving.logs import open_log
from serving.service import Service
from serving.unlearning import COMMAND, Unlearning
from tests.serving.records import record

if TYPE_CHECKING:
    from tests.serving.fake_engine import FakeEngine

SOON = 0.0005
"""Minutes."""


@pytest.fixture
def log(service: Service) -> io.BytesIO:
    service.log = open_log(log := io.BytesIO())
    return log


@pytest.fixture
def waiting(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> list[ForgetRecord]:
    """The requests that wait."""
    pending = [record("r1", ForgetState.EFFECTIVE)]
    monkeypatch.setattr(engine.officer, "pending", lambda: pending)
    return pending


async def until(service: Service, log: io.BytesIO, code: str, word: bytes) -> None:
    """Run a command in place of the real one until the log has a word."""
    duty = Unlearning(service, SOON, (sys.executable, "-c", code))
    task = asyncio.create_task(duty.repeat())
    try:
        async with asyncio.timeout(30):
            while word not in log.getvalue():
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


DONE = 'print(\'{"removal":"influence","exact":false,"requests":2,"settled":2,"adapter":"abc","users":9}\')'
REFUSED = 'print(\'{"error":{"code":"invalid_input","message":"user-1"}}\'); raise SystemExit(1)'


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize(
    ("code", "event"),
    [
        (DONE, b'"unlearned"'),
        (REFUSED, b'"code":"invalid_input"'),
        ("raise SystemExit(9)", b'"code":"ended"'),
    ],
)
def test_what_came_of_it_is_logged_and_nothing_of_a_person(
    service: Service, log: io.BytesIO, code: str, event: bytes
) -> None:
    asyncio.run(until(service, log, code, event))
    assert b"user-1" not in log.getvalue()


@pytest.mark.usefixtures("waiting")
def test_a_command_that_cannot_be_run_is_tried_again(service: Service, log: io.BytesIO) -> None:
    async def look() -> None:
        task = asyncio.create_task(Unlearning(service, SOON, ("/does/not/exist",)).repeat())
        async with asyncio.timeout(30):
            while log.getvalue().count(b"unlearning_failed") < 2:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(look())


def test_without_a_request_that_waits_nothing_is_run(
    service: Service, waiting: list[ForgetRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting.clear()
    looked = []
    engine = service.ready_engine

    def pending() -> list[ForgetRecord]:
        looked.append(1)
        return waiting

    monkeypatch.setattr(engine.officer, "pending", pending)
    trace = tmp_path / "run"

    async def look() -> None:
        command = (sys.executable, "-c", f"open({str(trace)!r}, 'w')")
        task = asyncio.create_task(Unlearning(service, SOON, command).repeat())
        async with asyncio.timeout(30):
            while len(looked) < 3:
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(look())
    assert not trace.exists()


@pytest.mark.usefixtures("waiting")
@pytest.mark.parametrize(("minutes", "number"), [(0, 1), (SOON, 2)])
def test_it_is_off_by_default_and_of_one_worker_only(service: Service, minutes: float, number: int) -> None:
    service.number = number
    asyncio.run(asyncio.wait_for(Unlearning(service, minutes, ("/does/not/exist",)).repeat(), 30))


@pytest.mark.usefixtures("waiting")
def test_a_service_that_stops_ends_it(service: Service, log: io.BytesIO, tmp_path: Path) -> None:
    """The process would write a file if it were not ended."""
    started, survived = tmp_path / "started", tmp_path / "survived"
    code = f"import time; open({str(started)!r}, 'w'); time.sleep(5); open({str(survived)!r}, 'w')"

    async def stop() -> None:
        task = asyncio.create_task(Unlearning(service, SOON, (sys.executable, "-c", code)).repeat())
        async with asyncio.timeout(30):
            while not started.exists():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    assert not survived.exists()
    assert log.getvalue() == b""


def test_the_command_is_the_one_that_an_operator_runs() -> None:
    assert COMMAND[3:] == ("adapter", "unlearn", "--json")
