"""Kills processes that forget people, at every step and at random moments, and looks at what the next process finds.

``python -m benchmarks.forget_crash --kills 500`` ends that many real processes by SIGKILL while they carry out real
requests on a small system, each on a copy of its own: before, halfway through and after each part of a removal, at file
operations all over it, and at random times; some are killed once more while they recover. After each, a fresh process
opens the system. It must find the person untouched, or finish the removal; see
:mod:`benchmarks.methods.crash_examination`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import orjson

from benchmarks.methods.children import die, in_child, killed
from benchmarks.methods.crash_cases import CASES, Case, Expected, expectation, prepare
from benchmarks.methods.crash_examination import Examination, Recovery, examine, recover
from benchmarks.methods.interruptions import Point, counted, points_of, stopped_at, watch_operations
from benchmarks.report import Row, write_results
from rag_rec.forgetting.opening import open_saga
from rag_rec.home import store_of
from rag_rec.settings import Settings
from tests.forgetting.asking import confirmed
from tests.homes import engine_of, settings_for

SEED: Final = 0
MOST_CALLS: Final = 4
"""At so many of the calls of one function a removal is stopped."""
FAULTS: Final = ("left_behind", "incomplete", "lost", "ledger_broken")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A case that was carried out undisturbed: what it needs, and what it does."""

    case: Case
    expected: Expected
    calls: dict[str, int]
    operations: int
    seconds: float


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


@dataclass(frozen=True, slots=True)
class Crash:
    """What became of an attempt: how many processes were killed, and what was found afterwards."""

    attempt: Attempt
    kills: int
    found: Examination


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=500, help="how many processes to kill at least")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the row, write no file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rag-rec-") as folder:
        row = summary(list(crashes(Path(folder), arguments.kills, arguments.seed)))
    if arguments.only_print:
        print(orjson.dumps(row).decode())  # noqa: T201 - the command's result
    else:
        print(write_results("forget_crash", [row], arguments.seed))  # noqa: T201 - the command's result


def crashes(folder: Path, kills: int, seed: int) -> Iterator[Crash]:
    """Kill at least so many processes, one after the other."""
    template = folder / "template"
    in_child(lambda: str(prepare(template).home))
    rehearsals = [_rehearse(folder, template, case) for case in CASES]
    done = 0
    for attempt in attempts(rehearsals, np.random.default_rng(seed), kills):
        crash = _attempt(folder, template, attempt)
        done += crash.kills
        if crash.kills:
            _tell(done, crash)
            yield crash
        if done >= kills:
            return


def attempts(rehearsals: Sequence[Rehearsal], draw: np.random.Generator, kills: int) -> Iterator[Attempt]:
    """Half of the kills at the points of the steps; then at file operations and at random moments in turn."""
    points = [(each, point) for each in rehearsals for point in points_of(each.calls, MOST_CALLS)]
    for at in _in_turns([point for _, point in points], draw)[: kills // 2]:
        yield _drawn(*points[at], draw)
    while True:
        for rehearsal in rehearsals:
            yield _drawn(rehearsal, Point("", int(draw.integers(1, rehearsal.operations + 1))), draw)
            yield _drawn(rehearsal, None, draw)


def _in_turns(points: Sequence[Point], draw: np.random.Generator) -> list[int]:
    """The places of points in random order, but every moment of every function before one has a second turn."""
    met: Counter[tuple[str, str]] = Counter()
    turns = []
    for at in draw.permutation(len(points)).tolist():
        moment = points[at].place, points[at].when
        met[moment] += 1
        turns.append((met[moment], at))
    return [at for _, at in sorted(turns, key=lambda turn: turn[0])]


def summary(found: Sequence[Crash]) -> Row:
    """The row of the results."""
    faults = Counter(kind for crash in found for kind in FAULTS if getattr(crash.found, kind))
    at = Counter(_kind(crash.attempt) for crash in found)
    points = [crash.attempt.point for crash in found if crash.attempt.point]
    return {
        "name": "kills",
        "count": sum(crash.kills for crash in found),
        **{kind: faults[kind] for kind in FAULTS},
        "at_steps": at["step"],
        "at_file_operations": at["operation"],
        "at_random": at["random"],
        "again_while_recovering": sum(crash.kills - 1 for crash in found),
        "moments_of_steps": len({(each.place, each.when) for each in points if each.place}),
        "accepted_before": sum(crash.found.accepted for crash in found),
    }


def _kind(attempt: Attempt) -> str:
    if attempt.point is None:
        return "random"
    return "step" if attempt.point.place else "operation"


def _drawn(rehearsal: Rehearsal, point: Point | None, draw: np.random.Generator) -> Attempt:
    again = draw.random() if point is None and draw.random() < 0.5 else None
    recovery: Recovery = get_args(Recovery)[draw.integers(len(get_args(Recovery)))]
    return Attempt(rehearsal, point, draw.random(), again, recovery)


def _attempt(folder: Path, template: Path, attempt: Attempt) -> Crash:
    home, case, expected = folder / "home", attempt.rehearsal.case, attempt.rehearsal.expected
    settings = settings_for(home)
    shutil.copytree(template, home)
    delay = attempt.at * attempt.rehearsal.seconds
    kills = killed(lambda ready: _carry_out(settings, case, attempt.point, ready), None if attempt.point else delay)
    if kills and attempt.again is not None:
        again = attempt.again * attempt.rehearsal.seconds
        kills += killed(lambda ready: _recover(settings, attempt, ready), again)
    found = Examination()
    if kills:
        try:
            found = Examination(**in_child(lambda: asdict(examine(settings, case, expected, attempt.recovery))))
        except ChildProcessError as error:
            found.incomplete.append(str(error))
    shutil.rmtree(home)
    return Crash(attempt, kills, found)


def _rehearse(folder: Path, template: Path, case: Case) -> Rehearsal:
    """Carry a case out twice: to count the calls of its parts, and to time it and count its file operations."""
    homes = [folder / "counted", folder / "timed"]
    for home in homes:
        shutil.copytree(template, home)
    expected = Expected.parsed(in_child(lambda: _expect(settings_for(homes[0]), case)))
    calls = in_child(lambda: _count(settings_for(homes[0]), case))
    operations, seconds = in_child(lambda: _time(settings_for(homes[1]), case))
    for home in homes:
        shutil.rmtree(home)
    return Rehearsal(case, expected, calls, operations, seconds)


def _expect(settings: Settings, case: Case) -> dict[str, Any]:
    engine = engine_of(settings)
    found = expectation(engine, case).plain()
    engine.close()
    return found


def _count(settings: Settings, case: Case) -> dict[str, int]:
    calls: dict[str, int] = {}

    @contextmanager
    def counting() -> Iterator[None]:
        with counted() as found:
            yield
        calls.update(found)

    _forget(settings, case, counting())
    return calls


def _time(settings: Settings, case: Case) -> tuple[int, float]:
    spent: list[float] = []
    operations: list[int] = []

    @contextmanager
    def timing() -> Iterator[None]:
        counts, started = watch_operations(settings.home, None, die), time.perf_counter()
        yield
        spent.append(time.perf_counter() - started)
        operations.append(counts[""])

    _forget(settings, case, timing())
    return operations[0], spent[0]


def _carry_out(settings: Settings, case: Case, point: Point | None, ready: Connection) -> None:
    """Be the process that is killed."""

    @contextmanager
    def dying() -> Iterator[None]:
        if point is None:
            ready.send_bytes(b"starts")
        elif point.place:
            with stopped_at(point, die):
                yield
            return
        else:
            watch_operations(settings.home, point.nth, die)
        yield

    _forget(settings, case, dying())


def _recover(settings: Settings, attempt: Attempt, ready: Connection) -> None:
    ready.send_bytes(b"starts")
    recover(settings, attempt.rehearsal.case, attempt.rehearsal.expected, attempt.recovery)


def _forget(settings: Settings, case: Case, around: AbstractContextManager[None]) -> None:
    """Carry a request out, in a service or as a command; when everything is open and planned, within a context."""
    if case.served:
        engine = engine_of(settings)
        engine.join()
        request = confirmed(engine, case.request)
        with around:
            engine.forget(request)
        engine.close()
        return
    store = store_of(settings)
    saga = open_saga(settings, store)
    request = confirmed(saga, case.request)
    with around:
        saga.forget(request)
    store.close()


def _tell(done: int, crash: Crash) -> None:
    faults = {kind: getattr(crash.found, kind) for kind in FAULTS if getattr(crash.found, kind)}
    if faults:
        print(done, crash.attempt.rehearsal.case.name, crash.attempt.point, faults, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
