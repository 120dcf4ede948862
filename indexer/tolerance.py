"""How many rows of a file may be rejected before the ingest counts as failed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from rag_rec.errors import InvalidInput

_WRITTEN: Final = re.compile(r"(?P<number>\d{1,18}|\d{1,3}\.\d{1,6}(?=%))(?P<percent>%)?\Z")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A number of rows, or a share of them in percent, that may be rejected."""

    limit: float
    percent: bool

    @classmethod
    def parse(cls, written: str) -> Self:
        """Read ``20`` or ``5%``. Raises ``InvalidInput``."""
        found = _WRITTEN.match(written.strip())
        if found is None or (found["percent"] and float(found["number"]) > 100):
            raise InvalidInput("--max-rejects takes a number of rows, such as 20, or a share of them, such as 5%.")
        return cls(float(found["number"]), found["percent"] is not None)

    def allows(self, rejected: int, rows: int) -> bool:
        """Whether ``rejected`` of ``rows`` may be rejected."""
        return rejected <= (self.limit * rows / 100 if self.percent else self.limit)

    def __str__(self) -> str:
        return f"{self.limit:g}{'%' if self.percent else ''}"
