"""Progress as a bar for each stage, on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bars:
    """A bar per stage, with the time that has passed and the time that is left. Use it as a context manager.

    A bar moves from the first second on, also before a stage has begun or where its length is not known.
    """

    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=console)
        self._starting: TaskID | None = None
        self._stage: TaskID | None = None

    def __enter__(self) -> Self:
        self._starting = self._bars.add_task("starting", total=None)
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave_start()
        if kind is None:
            self._finish()
        self._bars.stop()

    def stage(self, name: str, total: int) -> None:
        """Finish the present bar and begin another."""
        self._leave_start()
        self._finish()
        self._stage = self._bars.add_task(name, total=total or None)

    def advance(self, steps: int) -> None:
        """Move the present bar."""
        if self._stage is not None:
            self._bars.advance(self._stage, steps)

    def _leave_start(self) -> None:
        if self._starting is not None:
            self._bars.remove_task(self._starting)
            self._starting = None

    def _finish(self) -> None:
        """Fill the present bar; of a length that was not known, what was done is the whole."""
        if self._stage is not None:
            task = next(task for task in self._bars.tasks if task.id == self._stage)
            total = task.total if task.total is not None else max(1, task.completed)
            self._bars.update(self._stage, total=total, completed=total)
