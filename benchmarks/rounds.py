"""Times contenders in alternating rounds, so that whatever else the machine does meets all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(slots=True)
class Contender:
    """Something that serves ``users`` users each time it runs. ``notes`` makes more columns of its row, last."""

    name: str
    users: int
    run: Callable[[], object]
    notes: Callable[[], dict[str, Any]] = dict
    seconds: list[float] = field(default_factory=list)

    @property
    def users_per_s(self) -> float:
        """By the median of the rounds."""
        return self.users / median(self.seconds)

    def row(self) -> dict[str, Any]:
        """What a table shows."""
        return {
            "name": self.name,
            "users_per_s": round(self.users_per_s, 3),
            "ms_per_user": round(1e3 / self.users_per_s, 3),
            "rounds": len(self.seconds),
            **self.notes(),
        }


def take_rounds(contenders: Sequence[Contender], rounds: int) -> None:
    """Run everybody once per round, in turns forwards and backwards."""
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else contenders[::-1]:
            started = perf_counter()
            contender.run()
            contender.seconds.append(perf_counter() - started)
