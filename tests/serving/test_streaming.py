from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest

from rag_rec.errors import InvalidInput
from serving.errors import DeadlineExceeded, Overloaded
from serving.lanes import Lane
from serving.streaming import Produce, Stopped, server_event, stream


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test", 1, 0)
    yield lane
    lane.close()


def read(lane: Lane, produce: Produce, seconds: float | None = None) -> list[bytes]:
    async def reading() -> list[bytes]:
        return [event async for event in stream(lane, produce, seconds)]

    return asyncio.run(reading())


def failing(error: Exception) -> Produce:
    def produce(_: Stopped) -> Iterator[bytes]:
        yield b"1"
        raise error

    return produce


def test_everything_arrives_in_order(lane: Lane) -> None:
    expected = [str(number).encode() for number in range(100)]
    assert read(lane, lambda _: iter(expected)) == expected
    assert read(lane, lambda _: iter(())) == []
    assert lane.pending == 0


def test_events_arrive_before_the_end(lane: Lane) -> None:
    go_on = threading.Event()

    def produce(_: Stopped) -> Iterator[bytes]:
        yield b"1"
        assert go_on.wait(30)
        yield b"2"

    async def reading() -> list[bytes]:
        events = stream(lane, produce)
        first = await anext(events)
        go_on.set()
        return [first] + [event async for event in events]

    assert asyncio.run(reading()) == [b"1", b"2"]


@pytest.mark.parametrize("error", [InvalidInput("no"), ValueError("no")])
def test_errors_arrive_after_what_came_before_them(lane: Lane, error: Exception) -> None:
    seen: list[bytes] = []

    async def reading() -> None:
        async for event in stream(lane, failing(error)):
            seen.append(event)

    with pytest.raises(type(error)):
        asyncio.run(reading())
    assert seen == [b"1"]
    assert lane.pending == 0


def until_stopped(ended: threading.Event) -> Produce:
    def produce(stopped: Stopped) -> Iterator[bytes]:
        try:
            while not stopped():
                yield b"1"
        finally:
            ended.set()

    return produce


def waiting(ended: threading.Event) -> Produce:
    def produce(stopped: Stopped) -> Iterator[bytes]:
        while not stopped():
            pass
        ended.set()
        yield b"1"

    return produce


def test_the_time_can_be_up(lane: Lane) -> None:
    ended = threading.Event()
    with pytest.raises(DeadlineExceeded):
        read(lane, waiting(ended), 0.01)
    assert ended.wait(30)


def test_nothing_is_made_for_a_reader_who_left(lane: Lane) -> None:
    ended = threading.Event()

    async def main() -> None:
        events = stream(lane, until_stopped(ended))
        await anext(events)
        await events.aclose()

    asyncio.run(main())
    assert ended.wait(30)


def test_nothing_is_made_for_a_reader_who_was_cancelled(lane: Lane) -> None:
    ended = threading.Event()

    async def main() -> None:
        reading = asyncio.create_task(anext(stream(lane, waiting(ended))))
        while not lane.pending:
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(main())
    assert ended.wait(30)


def test_a_full_lane_refuses_before_the_first_event(lane: Lane) -> None:
    async def main() -> None:
        ended = threading.Event()
        under_way = stream(lane, until_stopped(ended))
        await anext(under_way)
        with pytest.raises(Overloaded):
            await anext(stream(lane, lambda _: iter([b"1"])))
        await under_way.aclose()

    asyncio.run(main())


def test_an_event_is_one_line_of_data() -> None:
    event = server_event("token", {"text": "two\nlines\r\n\ndata: x"})
    name, data, *rest = event.decode().split("\n")
    assert (name, rest) == ("event: token", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {"text": "two\nlines\r\n\ndata: x"}
