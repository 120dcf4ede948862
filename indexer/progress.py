"""How a long job tells a person how far it has come."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from rag_rec.cli import progress_console


class Progress(Protocol):
    """Told of stages and of the steps done in the present one."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` steps begins; the one before it is done."""

    def advance(self, steps: int) -> None:
        """Some steps of the present stage are done."""


class Silent:
    """Says nothing."""

    def stage(self, name: str, total: int) -> None:
        """Nothing."""

    def advance(self, steps: int) -> None:
        """Nothing."""


class Bars:
    """A bar per stage on stderr. Use it as a context manager."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = RichProgress(*columns, console=progress_console)
        self._stage: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """Finish the present bar and begin another."""
        self._finish()
        self._stage = self._bars.add_task(name, total=total)

    def advance(self, steps: int) -> None:
        """Move the present bar."""
        if self._stage is not None:
            self._bars.advance(self._stage, steps)

    def _finish(self) -> None:
        if self._stage is not None:
            self._bars.update(self._stage, completed=self._bars.tasks[self._stage].total)


class Percent:
    """Turns the finished share of a stage of a hundred steps into steps."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def share(self, finished: float) -> None:
        """Advance to a finished share, 0 to 1."""
        done = int(100 * finished)
        self._progress.advance(done - self._done)
        self._done = done
