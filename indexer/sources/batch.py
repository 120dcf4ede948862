"""What every reader yields: a batch of rows by column, and the rows that could not be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Kind(StrEnum):
    """What the rows of a file are."""

    ITEMS = "items"
    USERS = "users"
    INTERACTIONS = "interactions"


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not stored: its line (from 1) and which column broke which rule, but nothing of its content."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows of a file.

    ``position`` counts the rows of the file up to the end of this batch, rejected ones included. ``lines`` and every
    list in ``columns`` are parallel. A cell that is missing is None or an empty text.
    """

    position: int
    lines: list[int]
    columns: Mapping[str, list[Any]]
    rejects: list[Reject] = field(default_factory=list)


class Source(Protocol):
    """A file, or a part of one, whose rows are all of one kind."""

    @property
    def kind(self) -> Kind:
        """What the rows are."""

    @property
    def name(self) -> str:
        """Name of the file, for messages."""

    @property
    def digest(self) -> str:
        """Identifies the content."""

    @property
    def rows(self) -> int:
        """About how many rows there are, for the progress bar."""

    @property
    def typed(self) -> bool:
        """Whether cells have types of their own; if not, each is a text."""

    def batches(self, size: int, skip: int = 0) -> Iterator[Batch]:
        """The rows after the first ``skip``, at most ``size`` at a time.

        Raises ``InvalidInput`` if the file as a whole cannot be read.
        """
