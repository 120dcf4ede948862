from __future__ import annotations

import asyncio
import threading

import pytest

from serving.errors import DeadlineExceeded, Overloaded
from serving.lanes import Lane


def test_it_returns_and_raises_what_the_call_does() -> None:
    lane = Lane("lane", 1, 1)

    async def run() -> None:
        assert await lane.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await lane.run(divmod, 7, 0)
        assert await lane.run_within(30, lambda left: 0 < left <= 30)
        with pytest.raises(TimeoutError):
            await lane.run_within(30, _time_out)

    asyncio.run(run())
    assert lane.pending == 0
    lane.close()


def _time_out(_: float) -> None:
    raise TimeoutError


def test_it_refuses_beyond_its_limit_and_recovers() -> None:
    lane, gate = Lane("lane", 1, 1), threading.Event()

    async def run() -> None:
        under_way = [asyncio.create_task(lane.run(gate.wait, 30)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await lane.run(print)
        gate.set()
        assert await asyncio.gather(*under_way) == [True, True]
        assert await lane.run(len, "abc") == 3

    asyncio.run(run())
    assert (lane.pending, lane.refused) == (0, 1)
    lane.close()


def test_a_call_that_runs_out_of_time_while_it_waits_never_starts() -> None:
    lane, gate, started = Lane("lane", 1, 1), threading.Event(), threading.Event()

    async def run() -> None:
        blocking = asyncio.create_task(lane.run(gate.wait, 30))
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await lane.run_within(0.01, lambda _: started.set())
        assert lane.pending == 1
        gate.set()
        await blocking

    asyncio.run(run())
    lane.close()
    assert not started.is_set()
    assert lane.pending == 0


def test_a_call_that_runs_out_of_time_while_it_runs_still_counts_until_it_ends() -> None:
    lane, gate, started = Lane("lane", 1, 0), threading.Event(), threading.Event()

    def call(_: float) -> None:
        started.set()
        gate.wait(30)

    async def run() -> None:
        with pytest.raises(DeadlineExceeded):
            await lane.run_within(0.05, call)
        if started.is_set():
            with pytest.raises(Overloaded):
                await lane.run(print)

    asyncio.run(run())
    gate.set()
    lane.close()
    assert lane.pending == 0


def test_a_call_that_would_wait_too_long_is_refused() -> None:
    lane, gate = Lane("lane", 1, 64, patience=0.5), threading.Event()
    impatient = Lane("impatient", 1, 64)

    async def run() -> None:
        for each in (lane, impatient):
            each._seconds = 1.0  # what recent calls took
            assert not each.crowded  # nobody waits: one can always begin
            under_way = asyncio.create_task(each.run(gate.wait, 30))
            while not each.pending:
                await asyncio.sleep(0)
            assert each.expected_wait == 1.0
            if each is lane:
                assert lane.crowded
                with pytest.raises(Overloaded):
                    await lane.run(print)
            else:
                assert not impatient.crowded
                with pytest.raises(Overloaded):
                    await impatient.run_within(0.9, print)
            gate.set()
            await under_way
            gate.clear()
        assert lane.expected_wait == 0.0

    asyncio.run(run())
    lane.close()
    impatient.close()
    assert lane.refused == impatient.refused == 1


def test_the_time_of_a_call_follows_the_recent_ones() -> None:
    lane = Lane("lane", 1, 64)
    lane._seconds = 10.0
    for _ in range(100):
        asyncio.run(lane.run(lambda: None))
    lane.close()
    assert lane._seconds < 0.1
