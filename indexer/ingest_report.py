"""What ``rag-rec ingest`` says about what it did: to programs as JSON, to people in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any, Final, Self

from indexer.ingest import IngestResult
from indexer.sources.batch import Kind
from rag_rec.errors import InvalidInput
from rag_rec.index.tally import Tally

_OUTCOMES: Final = ("accepted", "duplicates", "suppressed", "rejected")


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


def report(results: Sequence[IngestResult], tolerance: Tolerance, epoch: int, tally: Tally) -> Mapping[str, Any]:
    """The result of the command. It failed where a part has more rejected rows than are tolerated."""
    totals = {name: sum(getattr(result, name) for result in results) for name in _OUTCOMES}
    seconds = sum(result.seconds for result in results)
    problems = [problem for result in results if (problem := _problem(result, tolerance))]
    return {
        "ok": not problems,
        **({"problem": " ".join(problems)} if problems else {}),
        **totals,
        **_stored(results, tally),
        "seconds": round(seconds, 3),
        "rows_per_s": round(sum(totals.values()) / max(seconds, 1e-9)),
        "epoch": epoch,
        "parts": [_part(result) for result in results],
        **_first_rejects(results),
    }


def _problem(result: IngestResult, tolerance: Tolerance) -> str | None:
    if tolerance.allows(result.rejected, result.rows):
        return None
    return (
        f"{result.rejected} of {result.rows} rows of {result.kind} were rejected; --max-rejects tolerates {tolerance}. "
        f"The others are stored: put the rejected ones right ({result.rejects} lists them), and repeat the command."
    )


def _stored(results: Sequence[IngestResult], tally: Tally) -> Mapping[str, Any]:
    """How many interactions there are now, and how many of them are of use."""
    if not any(result.kind is Kind.INTERACTIONS for result in results):
        return {}
    warning = {} if tally.warning is None else {"warning": tally.warning}
    return {"stored": {"interactions": tally.stored, "positive": tally.positive}, **warning}


def _first_rejects(results: Sequence[IngestResult]) -> Mapping[str, Any]:
    listed = chain.from_iterable(
        ({"kind": str(result.kind), **asdict(reject)} for reject in result.first_rejects) for result in results
    )
    rows = list(listed)
    return {"first_rejects": rows} if rows else {}


def _part(result: IngestResult) -> Mapping[str, Any]:
    return {
        "kind": str(result.kind),
        **{name: getattr(result, name) for name in _OUTCOMES},
        "resumed": result.resumed,
        "seconds": round(result.seconds, 3),
        "rejects": str(result.rejects) if result.rejects else None,
    }
