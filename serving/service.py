"""The running service: what the routes share."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from rag_rec.errors import NotReady, RagRecError
from rag_rec.settings import Settings
from serving.auth import Keyring
from serving.barrier import Barrier
from serving.connections import Connections
from serving.disclosure import Disclosure, folder_of, of_disk
from serving.forget_clock import names_of
from serving.lanes import Lane
from serving.limits import Limits
from serving.logs import Log, place_of
from serving.metrics import Metrics

if TYPE_CHECKING:  # it brings the numerical libraries, which --help does not need
    from rag_rec.engine.engine import Engine

WARM_UP_SECONDS = 30.0
"""So long a stop waits for a warm-up that is under way: a library must not be loaded while the process ends."""


class Service:
    """Engine, keys, limits, lanes and metrics of one process; ``body_bytes`` counts the bodies in memory.

    The engine may arrive late (``engine`` is None while it loads): the process is alive at once and ready once it has.
    ``when_ready`` is called then. ``leaving`` says that it stops, and that callers should connect anew. ``number`` is
    that of the worker, where there are several.
    """

    def __init__(
        self, settings: Settings, keyring: Keyring, log: Log, engine: Engine | None = None, limits: Limits | None = None
    ) -> None:
        self.settings = settings
        self.keyring = keyring
        self.log = log
        self.engine = engine
        self.limits = limits or Limits()
        self.body_bytes = 0
        patience, waiting = self.limits.answer_wait_seconds, self.limits.waiting
        self.bodies = Lane("bodies", 1, waiting)
        self.answers = Lane("answers", self.limits.answer_threads, waiting, patience)
        self.changes = Lane("changes", self.limits.change_threads, waiting, self.limits.change_wait_seconds)
        self.explanations = Lane("explanations", self.limits.explanation_threads, waiting, patience)
        self.inspections = Lane("inspections", self.limits.inspection_threads, self.limits.waiting)
        self.removals = Lane("removals", self.limits.removal_threads, self.limits.waiting)
        self.proofs = Lane("proofs", self.limits.proof_threads, 1)
        self.barrier = Barrier()
        self.connections = Connections(
            self.limits.connections, self.limits.connections_of_address, self.limits.unread_seconds
        )
        self._disclosure = Disclosure(settings)
        self.leaving = False
        self.number = 1
        self.when_ready: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._generations = Lane("generations", 1, 0)
        self._presence = Lane("presence", 1, 0)
        self._attention = Lane("attention", 1, 0)
        self._erased = asyncio.Event()
        self._warming: threading.Thread | None = None
        working = (self.answers, self.changes, self.explanations, self.inspections, self.removals, self.proofs)
        self._lanes = (self.bodies, *working)
        self.metrics = Metrics(lambda: self.engine, self._lanes, self.connections)

    def disclose(self, error: BaseException, request_id: str) -> RagRecError:
        """The error that a caller sees. What the caller does not see is in the log, under the request's number.

        The text of an error that was not expected may quote personal data: its place is logged, and not the text.
        """
        shown = self._disclosure.of(error)
        if isinstance(error, OSError) and of_disk(error) is not None:
            self.log.error("disk_failed", code=shown.code, place=folder_of(error), reason=error.strerror)
        elif not isinstance(error, RagRecError):
            self.log.error("defect", request=request_id, error=type(error).__name__, at=place_of(error))
        elif shown is not error or error.status == RagRecError.status:
            self.log.error("failure", request=request_id, code=error.code, message=str(error))
        return shown

    def lane(self, name: str) -> Lane:
        """The lane with this name."""
        return next(lane for lane in self._lanes if lane.name == name)

    @property
    def ready_engine(self) -> Engine:
        """The engine.

        Raises:
            NotReady: it is still loading.
        """
        if self.engine is None:
            raise NotReady("The service is still loading; try again in a moment.")
        return self.engine

    @property
    def term(self) -> int | None:
        """The engine's term; before there is an engine nothing personal can be answered."""
        return 0 if self.engine is None else self.engine.attendance.term

    def load(self, open_engine: Callable[[], Engine]) -> None:
        """Open the engine and make it known to the others; the service is ready afterwards, and warms up."""
        engine = open_engine()
        engine.attendance.join(
            self.let_answers_leave
        )  # before the first answer: a removal elsewhere has to know of whom it waits for
        self.metrics.forgetting.expect(names_of(engine.officer.pending()))
        self.engine = engine
        status = engine.status()
        self.log.info("ready", generation=status.generation, epoch=status.epoch, items=status.items)
        self.when_ready()
        self._warming = threading.Thread(target=self.warm_up, args=(engine,), name="rag-rec-warm-up", daemon=True)
        self._warming.start()

    def warm_up(self, engine: Engine) -> None:
        """Load what the first item needs, while answers go on; if that fails, log it: the first item tries again."""
        started = time.monotonic()
        try:
            engine.warm_up()
        except Exception as error:  # answers do not need it
            self.log.error("warm_up_failed", code=getattr(error, "code", type(error).__name__))
            return
        self.log.info("warm", seconds=round(time.monotonic() - started, 3))

    async def follow_generations(self) -> None:
        """Follow the store, and take up newly published index generations, until cancelled.

        Requests under way keep the old generation.
        """
        self._loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._erased.wait(), self.limits.refresh_seconds)
            self._erased.clear()
            if self.engine is not None:
                await self._generations.run(self.refresh, self.engine)

    async def attend_removals(self) -> None:
        """Follow every removal at once, whatever a refresh waits for, until cancelled.

        What fails is tried again, though not as soon.
        """
        pause = self.limits.attend_seconds
        while True:
            await asyncio.sleep(pause)
            pause = self.limits.attend_seconds
            if self.engine is None:
                continue
            try:
                if await self._attention.run(self.engine.attendance.attend):
                    self._erased.set()  # files are cleaned by a refresh
            except Exception as error:  # meanwhile the lease runs out, and nothing personal leaves
                pause = self.limits.refresh_seconds
                self.log.error("attention_failed", code=getattr(error, "code", type(error).__name__))

    async def remain_present(self) -> None:
        """Say now and then that the service runs, until cancelled: a refresh that loads a model may take long."""
        while True:
            await asyncio.sleep(self.limits.stay_seconds)
            if self.engine is not None:
                await self._presence.run(self.stay, self.engine)

    def refresh(self, engine: Engine) -> None:
        """Take up the current index generation if it is another one; if it is broken, say so and keep the old one."""
        try:
            if engine.refresh():
                self.log.info("generation", generation=engine.status().generation)
        except RagRecError as error:
            self.metrics.refresh_failures.inc()
            self.log.error("refresh_failed", code=error.code, message=str(error))
        except Exception as error:  # the service goes on with what it has
            self.metrics.refresh_failures.inc()
            self.log.error("refresh_failed", code=type(error).__name__)

    def stay(self, engine: Engine) -> None:
        """Say that the service runs; if that fails, log it and go on."""
        try:
            engine.attendance.stay()
        except Exception as error:  # the next attempt is soon
            self.log.error("presence_failed", code=getattr(error, "code", type(error).__name__))

    async def let_earlier_answers_leave(self, *, cut_off: bool) -> None:
        """Wait until no personal answer that was begun by now can leave any more, but not for too long.

        Args:
            cut_off: whether to end those that take too long. Then none can leave, whatever it waits for.
        """
        late = await self.barrier.drain(self.limits.barrier_seconds, cut_off=cut_off)
        if late and cut_off:
            self.metrics.cut_off.inc(late)
            self.log.info("answers_cut_off", answers=late)

    def let_answers_leave(self) -> None:
        """The same from another thread, once the service runs: before that there are no answers."""
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(self.let_earlier_answers_leave(cut_off=True), self._loop).result()

    def close(self) -> None:
        """End the threads once their calls are done, and close the engine."""
        if self._warming is not None:
            self._warming.join(WARM_UP_SECONDS)
        for lane in (self._generations, self._presence, self._attention, *self._lanes):
            lane.close()
        if self.engine is not None:
            self.engine.close()


async def _current(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(_current)]
"""The service, as a parameter of a route's handler."""
