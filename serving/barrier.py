"""Holds the acknowledgement of a removal back until every answer that was begun before it has left.

The engine throws away what it computed from a person who has been forgotten meanwhile. What remains is the time from
its last look at the erasure epoch to the moment when the bytes of the answer have left this process. A removal is
acknowledged after that moment, for every answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from serving.errors import AnswerVoid

PASSAGE: Final = "rag_rec.passage"
"""Name of the passage in the scope of a request."""


class Passage:
    """The way out of one answer. It holds a removal up from :meth:`enter` until the answer has left."""

    def __init__(self, under_way: set[Passage]) -> None:
        self.limit = asyncio.timeout(None)
        self.left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way = under_way
        self.term: int | None = None

    @property
    def entered(self) -> bool:
        """Whether a removal would wait for it."""
        return self in self._under_way

    def enter(self, term: int | None = None) -> None:
        """To be called before anything personal is read.

        Args:
            term: in which the answer is begun (:meth:`rag_rec.engine.attendance.Attendance.term`).
        """
        self.term = term
        self._under_way.add(self)

    def leave(self) -> None:
        """The answer is out, or will never be."""
        self._under_way.discard(self)
        self.left.set_result(None)

    def cut_off(self) -> None:
        """End the answering; what has not been sent will never be."""
        self.limit.reschedule(asyncio.get_running_loop().time())


class Barrier:
    """The answers under way in one event loop. Entering and leaving cost microseconds, and nothing waits to enter."""

    def __init__(self) -> None:
        self._under_way: set[Passage] = set()

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[Passage]:
        """Around the whole answering of a request, until its last byte has been sent.

        Raises:
            AnswerVoid: the answer was cut off.
        """
        passage = Passage(self._under_way)
        try:
            async with passage.limit:
                yield passage
        except TimeoutError:
            if not passage.limit.expired():
                raise
            raise AnswerVoid(
                "The answer was begun before a person was forgotten, and took too long; ask again."
            ) from None
        finally:
            passage.leave()

    async def drain(self, seconds: float, *, cut_off: bool) -> int:
        """Wait until every answer that has entered by now has left.

        Args:
            seconds: how long to wait.
            cut_off: whether to end the answers that have not left by then.

        Returns:
            How many had not left by then.
        """
        earlier = list(self._under_way)
        await _until_left(earlier, seconds)
        late = [passage for passage in earlier if not passage.left.done()]
        if cut_off:
            for passage in late:
                passage.cut_off()
            await _until_left(late)
        return len(late)


async def _until_left(passages: list[Passage], seconds: float | None = None) -> None:
    if passages:
        await asyncio.wait([passage.left for passage in passages], timeout=seconds)
