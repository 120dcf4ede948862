from __future__ import annotations

import asyncio
import io
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from rag_rec.errors import Busy, CorruptIndex, NotReady
from serving.logs import open_log
from serving.service import Service

if TYPE_CHECKING:
    from tests.serving.fake_engine import FakeEngine


def failures(service: Service) -> float | None:
    return service.metrics.registry.get_sample_value("ragrec_refresh_failures_total")


def test_a_new_generation_is_taken_up(service: Service, engine: FakeEngine) -> None:
    service.log = open_log(log := io.BytesIO())
    service.refresh(engine)
    assert log.getvalue() == b""
    engine.next_generation = "second"
    service.refresh(engine)
    assert b'"generation":"second"' in log.getvalue()


@pytest.mark.parametrize("error", [CorruptIndex("The index is broken."), ValueError("u1")])
def test_a_broken_generation_leaves_the_old_one(service: Service, engine: FakeEngine, error: Exception) -> None:
    service.log = open_log(log := io.BytesIO())
    engine.failure = error
    service.refresh(engine)
    assert engine.generation == "first"
    assert failures(service) == 1
    assert b"refresh_failed" in log.getvalue()
    assert b"u1" not in log.getvalue()


def test_it_is_not_ready_before_the_engine_is_loaded(service: Service, engine: FakeEngine) -> None:
    service.engine = None
    with pytest.raises(NotReady):
        _ = service.ready_engine
    service.load(lambda: engine)
    assert service.ready_engine is engine
    assert engine.let_answers_leave is not None
    engine.let_answers_leave()  # nothing runs yet, and nothing waits


def test_it_is_ready_while_it_warms_up(service: Service, engine: FakeEngine) -> None:
    service.log = open_log(log := io.BytesIO())
    engine.warming.clear()
    service.engine = None
    service.load(lambda: engine)
    assert service.ready_engine is engine
    assert not engine.warm.is_set()
    engine.warming.set()
    service.close()
    assert engine.warm.is_set()
    assert b'"event":"warm"' in log.getvalue()


def test_a_warm_up_that_fails_is_logged_without_its_text(service: Service, engine: FakeEngine) -> None:
    service.log = open_log(log := io.BytesIO())
    engine.warm_up_failure = ValueError("u1")
    service.load(lambda: engine)
    service.close()
    assert b"warm_up_failed" in log.getvalue()
    assert b"u1" not in log.getvalue()


def test_an_engine_that_cannot_join_does_not_answer(service: Service, engine: FakeEngine) -> None:
    service.engine = None
    engine.failure = Busy("The store is busy.")
    with pytest.raises(Busy):
        service.load(lambda: engine)
    with pytest.raises(NotReady):
        _ = service.ready_engine


def test_others_are_told_when_earlier_answers_have_left(service: Service) -> None:
    told: list[bool] = []

    async def main() -> None:
        following = asyncio.create_task(service.follow_generations())
        await asyncio.sleep(0)
        async with service.barrier.passage() as passage:
            passage.enter()
            telling = asyncio.create_task(asyncio.to_thread(tell))
            while not draining:
                await asyncio.sleep(0)
            assert told == []
        await telling
        following.cancel()

    def tell() -> None:
        service.let_answers_leave()
        told.append(True)

    draining: list[float] = []
    drain = service.barrier.drain

    async def noticed(seconds: float, *, cut_off: bool) -> int:
        draining.append(seconds)
        return await drain(seconds, cut_off=cut_off)

    service.barrier.drain = noticed  # type: ignore[method-assign]
    asyncio.run(main())
    assert told == [True]


def test_it_says_that_it_runs_while_a_refresh_takes_long(service: Service, engine: FakeEngine) -> None:
    service.limits = replace(service.limits, refresh_seconds=0.0, stay_seconds=0.0)
    gate = threading.Event()
    service.engine, engine.gate = None, gate

    async def main() -> None:
        tasks = [asyncio.create_task(each()) for each in (service.follow_generations, service.remain_present)]
        for _ in range(3):
            await asyncio.sleep(0)
        assert engine.stays == 0  # not loaded yet
        service.engine = engine
        assert await asyncio.to_thread(engine.in_background.acquire, timeout=30)
        said = engine.stays
        async with asyncio.timeout(30):
            while engine.stays < said + 2:
                await asyncio.sleep(0)
        gate.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    service.close()


@pytest.mark.parametrize("error", [Busy("The store is busy: u1."), ValueError("u1")])
def test_a_failure_to_say_that_it_runs_is_logged(service: Service, engine: FakeEngine, error: Exception) -> None:
    service.log = open_log(log := io.BytesIO())
    engine.failure = error
    service.stay(engine)
    assert b"presence_failed" in log.getvalue()
    assert b"u1" not in log.getvalue()


def test_closing_closes_the_engine(service: Service, engine: FakeEngine) -> None:
    service.close()
    assert engine.closed
