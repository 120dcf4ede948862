from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serving.barrier import Barrier, Passage
from serving.errors import AnswerVoid

FOREVER = 30.0


async def turns() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Answer:
    """An answer under way, which leaves when it is told to."""

    def __init__(self, barrier: Barrier, *, personal: bool = True) -> None:
        self.may_leave = asyncio.Event()
        self.left = False
        self.task = asyncio.create_task(self._answer(barrier, personal))

    async def _answer(self, barrier: Barrier, personal: bool) -> None:
        async with barrier.passage() as passage:
            if personal:
                passage.enter()
            await self.may_leave.wait()
            self.left = True


def run(test: Callable[[Barrier], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Barrier())

    asyncio.run(main())


def test_it_waits_for_every_answer_that_has_entered() -> None:
    async def test(barrier: Barrier) -> None:
        first, second = Answer(barrier), Answer(barrier)
        await turns()
        drained = asyncio.create_task(barrier.drain(FOREVER, cut_off=True))
        first.may_leave.set()
        await turns()
        assert not drained.done()
        second.may_leave.set()
        assert await drained == 0
        assert first.left
        assert second.left

    run(test)


def test_it_waits_for_nothing_else() -> None:
    async def test(barrier: Barrier) -> None:
        assert await barrier.drain(FOREVER, cut_off=True) == 0
        public = Answer(barrier, personal=False)
        earlier = Answer(barrier)
        await turns()
        drained = asyncio.create_task(barrier.drain(FOREVER, cut_off=True))
        await turns()
        later = Answer(barrier)
        await turns()
        earlier.may_leave.set()
        assert await drained == 0
        assert not later.left
        assert not public.left
        for answer in (public, later):
            answer.may_leave.set()
            await answer.task

    run(test)


def test_what_has_not_left_in_time_never_will() -> None:
    async def test(barrier: Barrier) -> None:
        late = Answer(barrier)
        await turns()
        assert await barrier.drain(0.0, cut_off=True) == 1
        late.may_leave.set()
        with pytest.raises(AnswerVoid):
            await late.task
        assert not late.left
        assert await barrier.drain(FOREVER, cut_off=True) == 0

    run(test)


def test_without_cutting_off_they_go_on() -> None:
    async def test(barrier: Barrier) -> None:
        late = Answer(barrier)
        await turns()
        assert await barrier.drain(0.0, cut_off=False) == 1
        late.may_leave.set()
        await late.task
        assert late.left

    run(test)


def test_an_answer_that_is_cancelled_or_fails_has_left() -> None:
    async def failing(barrier: Barrier) -> None:
        async with barrier.passage() as passage:
            passage.enter()
            await turns()
            raise ZeroDivisionError

    async def test(barrier: Barrier) -> None:
        gone, broken = Answer(barrier), asyncio.create_task(failing(barrier))
        await turns()
        drained = asyncio.create_task(barrier.drain(FOREVER, cut_off=True))
        gone.task.cancel()
        assert await drained == 0
        with pytest.raises(asyncio.CancelledError):
            await gone.task
        with pytest.raises(ZeroDivisionError):
            await broken

    run(test)


def test_a_cancelled_removal_leaves_the_answers_alone() -> None:
    async def test(barrier: Barrier) -> None:
        answer = Answer(barrier)
        await turns()
        removal = asyncio.create_task(barrier.drain(FOREVER, cut_off=True))
        await turns()
        removal.cancel()
        await asyncio.gather(removal, return_exceptions=True)
        answer.may_leave.set()
        await answer.task
        assert answer.left

    run(test)


def test_several_removals_wait_at_once() -> None:
    async def test(barrier: Barrier) -> None:
        answer = Answer(barrier)
        await turns()
        removals = [asyncio.create_task(barrier.drain(FOREVER, cut_off=True)) for _ in range(3)]
        await turns()
        answer.may_leave.set()
        assert await asyncio.gather(*removals) == [0, 0, 0]

    run(test)


def test_a_timeout_of_the_answer_itself_is_not_the_barriers() -> None:
    async def test(barrier: Barrier) -> None:
        with pytest.raises(TimeoutError):
            async with barrier.passage():
                raise TimeoutError

    run(test)


def test_a_passage_knows_whether_it_was_entered() -> None:
    async def test(barrier: Barrier) -> None:
        async with barrier.passage() as passage:
            assert isinstance(passage, Passage)
            assert not passage.entered
            passage.enter()
            assert passage.entered
        assert not passage.entered

    run(test)
