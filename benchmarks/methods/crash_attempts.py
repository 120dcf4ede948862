"""Who is to be killed, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final, Literal, get_args

import numpy as np

from benchmarks.methods.crash_examination import Recovery
from benchmarks.methods.crash_rehearsal import Rehearsal
from benchmarks.methods.interruptions import Point, points_of

MOST_CALLS: Final = 4
"""At so many of the calls of one function a removal is stopped."""

Victim = Literal["whole", "removals", "service"]
"""A process that removes by itself; the removal process of a service; a service, its removal process at work."""

APART: Final[tuple[tuple[Victim, bool], ...]] = (
    ("removals", True),
    ("service", True),
    ("removals", True),
    ("removals", False),
    ("removals", True),
    ("service", False),
)
"""Victims of removals in a process of their own, in turn, and whether they are killed at a step."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """When a process is to be killed: at a ``point``, or else after the share ``at`` of its usual time.

    ``again`` says after which share of that time the recovery is killed, too; None lets it go on.
    """

    rehearsal: Rehearsal
    point: Point | None
    at: float
    again: float | None
    recovery: Recovery
    victim: Victim = "whole"

    @property
    def seconds(self) -> float:
        """The usual time."""
        apart = self.rehearsal.seconds_apart
        return self.rehearsal.seconds if self.victim == "whole" or apart is None else apart

    @property
    def kind(self) -> str:
        """Under which name its kills are counted."""
        if self.victim == "service":
            return "service_of_removal_process"
        when = "random" if self.point is None else "steps" if self.point.place else "file_operations"
        return f"removal_process_at_{when}" if self.victim == "removals" else f"at_{when}"


def attempts(rehearsals: Sequence[Rehearsal], draw: np.random.Generator, kills: int) -> Iterator[Attempt]:
    """Half of the kills at the points of the steps; then at file operations and at random moments in turn."""
    points = _points(rehearsals)
    for at in _in_turns([point for _, point in points], draw)[: kills // 2]:
        yield _drawn(*points[at], draw)
    while True:
        for rehearsal in rehearsals:
            yield _drawn(rehearsal, Point("", int(draw.integers(1, rehearsal.operations + 1))), draw)
            yield _drawn(rehearsal, None, draw)


def attempts_apart(rehearsals: Sequence[Rehearsal], draw: np.random.Generator) -> Iterator[Attempt]:
    """Kills of a service or of its removal process, by turns as :data:`APART` says."""
    served = [each for each in rehearsals if each.case.served]
    points = _points(served)
    turns = {victim: cycle(_in_turns([point for _, point in points], draw)) for victim in get_args(Victim)}
    anybody = cycle(served)
    for victim, at_step in cycle(APART):
        rehearsal, point = points[next(turns[victim])] if at_step else (next(anybody), None)
        if victim == "service" and point is not None and point.when == "halfway":
            point = Point(point.place, point.nth)  # nothing is halfway: the removal process goes on from there
        yield _drawn(rehearsal, point, draw, victim)


def _points(rehearsals: Sequence[Rehearsal]) -> list[tuple[Rehearsal, Point]]:
    return [(each, point) for each in rehearsals for point in points_of(each.calls, MOST_CALLS)]


def _in_turns(points: Sequence[Point], draw: np.random.Generator) -> list[int]:
    """The places of points in random order, but every moment of every function before one has a second turn."""
    met: Counter[tuple[str, str]] = Counter()
    turns = []
    for at in draw.permutation(len(points)).tolist():
        moment = points[at].place, points[at].when
        met[moment] += 1
        turns.append((met[moment], at))
    return [at for _, at in sorted(turns, key=lambda turn: turn[0])]


def _drawn(rehearsal: Rehearsal, point: Point | None, draw: np.random.Generator, victim: Victim = "whole") -> Attempt:
    """An attempt. Whoever recovers from the death of a service meets what its removal process still does."""
    may_again = victim == "service" or (victim == "whole" and point is None)
    again = draw.random() if may_again and draw.random() < 0.5 else None
    recovery: Recovery = get_args(Recovery)[draw.integers(len(get_args(Recovery)))]
    return Attempt(rehearsal, point, draw.random(), again, recovery, victim)
