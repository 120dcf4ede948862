"""The seam by which a long job tells how far it has come."""

from __future__ import annotations

from typing import Final, Protocol


class Progress(Protocol):
    """Told of stages and of the steps done in the present one. Any thread may tell it."""

    def stage(self, name: str, total: int) -> None:
        """A stage of ``total`` steps begins, 0 where their number is not known; the one before it is done."""

    def advance(self, steps: int) -> None:
        """Some steps of the present stage are done."""


class Silent:
    """Says nothing."""

    def stage(self, name: str, total: int) -> None:
        """Nothing."""

    def advance(self, steps: int) -> None:
        """Nothing."""


SILENT: Final = Silent()


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
