"""Server-sent events, made on a thread of a lane and sent by the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator

import orjson
from fastapi.responses import StreamingResponse

from serving.errors import DeadlineExceeded
from serving.lanes import Lane

Stopped = Callable[[], bool]
Produce = Callable[[Stopped], Iterator[bytes]]


class EventStream(StreamingResponse):
    """A response of server-sent events. A caller that leaves cancels it."""

    media_type = "text/event-stream"


def server_event(name: str, content: object) -> bytes:
    """One event with ``content`` as JSON; dataclasses are written field by field."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(content))


async def stream(lane: Lane, produce: Produce, seconds: float | None = None) -> AsyncGenerator[bytes]:
    """What ``produce`` yields on a thread of the lane, as it comes.

    ``produce`` gets a function that tells whether anybody still waits for it; it should end soon when nobody does.

    Raises:
        Overloaded: too many calls wait already.
        DeadlineExceeded: ``seconds`` are over.
        RagRecError: raised by ``produce``.
    """
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    stopped, arrived = threading.Event(), asyncio.Queue[bytes | None]()

    def work() -> None:
        for event in produce(stopped.is_set):
            if stopped.is_set():
                return
            loop.call_soon_threadsafe(arrived.put_nowait, event)

    working = asyncio.create_task(lane.run(work))
    working.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while (event := await _next(arrived, end)) is not None:
            yield event
        await working
    finally:
        stopped.set()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _next(arrived: asyncio.Queue[bytes | None], end: float | None) -> bytes | None:
    try:
        async with asyncio.timeout_at(end):
            return await arrived.get()
    except TimeoutError:
        raise DeadlineExceeded("The answer was not complete within deadline_ms; allow more time.") from None
