"""Progress as log lines, where a bar cannot be seen: in a file, in a container's log, in a scheduler's mail.

A job that is done within seconds says nothing. Then a line comes at every change of stage and every half minute, also
while a stage tells nothing of itself, so that a job that lives can be told from one that hangs.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import structlog

from rag_rec.progress.estimate import Estimate

FIRST_SECONDS: Final = 3.0
"""A job that takes less says nothing."""

BETWEEN_SECONDS: Final = 30.0
BEAT_SECONDS: Final = 1.0

Say = Callable[..., Any]


class Lines:
    """One job's lines on stderr, in logfmt. Use it as a context manager.

    Args:
        job: what is going on.
        say: takes an event and its fields; stderr by default.
        clock: seconds that never go back.
    """

    def __init__(self, job: str, say: Say | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._job = job
        self._say = say or _stderr()
        self._clock = clock
        self._lock = threading.Lock()
        self._name = "starting"
        self._started = clock()
        self._stage = Estimate(0, self._started)
        self._due = self._started + FIRST_SECONDS
        self._spoken = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="rag-rec-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._spoken:
            how = "done" if kind is None else "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
            self._say(how, job=self._job, stage=self._name, seconds=round(self._clock() - self._started, 1))

    def stage(self, name: str, total: int) -> None:
        """Another stage begins; said at once after the first seconds."""
        with self._lock:
            now = self._clock()
            self._name, self._stage = name, Estimate(total, now)
            if self._spoken or now >= self._due:
                self._tell(now)

    def advance(self, steps: int) -> None:
        """Some steps are done."""
        with self._lock:
            self._stage.advance(steps, self._clock())
        self.tick()

    def tick(self) -> None:
        """Say how far it has come if a line is due."""
        with self._lock:
            now = self._clock()
            if now >= self._due:
                self._tell(now)

    def _tell(self, now: float) -> None:
        stage, self._due, self._spoken = self._stage, now + BETWEEN_SECONDS, True
        rate, rest = stage.rate(now), stage.rest(now)
        known = {"total": stage.total, "percent": _percent(stage)} if stage.total else {}
        self._say(
            "progress",
            job=self._job,
            stage=self._name,
            done=stage.done,
            **known,
            **({} if rate is None else {"per_second": float(f"{rate:.3g}")}),
            **({} if rest is None else {"rest_seconds": round(rest)}),
            seconds=round(now - self._started, 1),
        )

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self.tick()


def _percent(stage: Estimate) -> int:
    return min(100, 100 * stage.done // stage.total)


def _stderr() -> Say:
    """A logger of its own: commands keep stdout for their result, and may have configured no log at all."""
    log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "event", "job", "stage"]),
        ],
    )
    say: Say = log.info
    return say
