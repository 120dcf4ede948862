"""Progress as it suits where stderr leads."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console

from rag_rec.progress.bars import Bars
from rag_rec.progress.lines import Lines


class Shown:
    """A bar where stderr is a terminal, log lines where it is not. Use it as a context manager.

    Args:
        job: what is going on, such as the command's name. It names no person.
    """

    def __init__(self, job: str = "rag-rec") -> None:
        console = Console(stderr=True)  # made now: a console keeps for good whether it was a terminal at first
        self._shown: Bars | Lines = Bars(console) if console.is_interactive else Lines(job)

    def __enter__(self) -> Self:
        self._shown.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.__exit__(kind, error, trace)

    def stage(self, name: str, total: int) -> None:
        """See :class:`rag_rec.progress.protocol.Progress`."""
        self._shown.stage(name, total)

    def advance(self, steps: int) -> None:
        """See :class:`rag_rec.progress.protocol.Progress`."""
        self._shown.advance(steps)
