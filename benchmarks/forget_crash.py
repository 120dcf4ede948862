"""Kills processes that forget people, at every step and at random moments, and looks at what is found afterwards.

``python -m benchmarks.forget_crash --kills 500`` ends that many real processes by SIGKILL while they carry out real
requests on a small system, each on a copy of its own: before, halfway through and after each part of a removal, at file
operations all over it, and at random times; some are killed once more while they recover. After each, a fresh process
opens the system. It must find the person untouched, or finish the removal; see
:mod:`benchmarks.methods.crash_examination`.

One kill in six strikes a service that has its removals done in a process of their own: either that process alone, which
the service must make good at once, or the service while that process is at work, which then has to end by itself.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from benchmarks.methods.children import die, in_child, killed, killing
from benchmarks.methods.crash_attempts import Attempt, attempts, attempts_apart
from benchmarks.methods.crash_cases import CASES, prepare
from benchmarks.methods.crash_examination import OTHER, Examination, examine, recover
from benchmarks.methods.crash_rehearsal import carry_out, rehearse
from benchmarks.methods.interruptions import stopped_at, watch_operations
from benchmarks.methods.removal_service import Ending, outlive, serve_until_killed
from benchmarks.report import Row, write_results
from rag_rec.settings import Settings
from tests.homes import settings_for

SEED: Final = 0
APART_SHARE: Final = 1 / 6
"""Of the kills, those of services with a removal process, or of such a process."""
KINDS: Final = (
    "at_steps",
    "at_file_operations",
    "at_random",
    "removal_process_at_steps",
    "removal_process_at_random",
    "service_of_removal_process",
)
FAULTS: Final = ("left_behind", "incomplete", "lost", "ledger_broken")


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
    rehearsals = [rehearse(folder, template, case) for case in CASES]
    apart = round(kills * APART_SHARE)
    draw, draw_apart = np.random.default_rng(seed), np.random.default_rng([seed, 1])

    def attempted(attempt: Attempt) -> Crash:
        return _attempt(folder, template, attempt)

    yield from _until(kills - apart, map(attempted, attempts(rehearsals, draw, kills - apart)))
    yield from _until(apart, map(attempted, attempts_apart(rehearsals, draw_apart)))


def summary(found: Sequence[Crash]) -> Row:
    """The row of the results."""
    faults = Counter(kind for crash in found for kind in FAULTS if getattr(crash.found, kind))
    kinds = Counter(crash.attempt.kind for crash in found)
    points = [crash.attempt.point for crash in found if crash.attempt.point]
    return {
        "name": "kills",
        "count": sum(crash.kills for crash in found),
        **{kind: faults[kind] for kind in FAULTS},
        **{kind: kinds[kind] for kind in KINDS},
        "again_while_recovering": sum(crash.kills - 1 for crash in found),
        "moments_of_steps": len({(each.place, each.when) for each in points if each.place}),
        "accepted_before": sum(crash.found.accepted for crash in found),
    }


def _until(kills: int, tried: Iterable[Crash]) -> Iterator[Crash]:
    """Those in which something was killed, until so many were."""
    done = 0
    for crash in tried if kills else ():
        done += crash.kills
        if crash.kills:
            _tell(crash)
            yield crash
        if done >= kills:
            return


def _attempt(folder: Path, template: Path, attempt: Attempt) -> Crash:
    settings = settings_for(folder / "home")
    shutil.copytree(template, settings.home)
    crash = _outlived(settings, attempt) if attempt.victim == "removals" else _crashed(settings, attempt)
    shutil.rmtree(settings.home)
    return crash


def _crashed(settings: Settings, attempt: Attempt) -> Crash:
    """Kill the process that was asked, perhaps once more while it recovers, and look at what the next one finds."""
    kills, found = 0, Examination()
    delay = None if attempt.point else attempt.at * attempt.seconds
    try:
        with killing(_work(settings, attempt), delay) as first:
            kills = first
            if first and attempt.again is not None:
                kills += killed(lambda ready: _recover(settings, attempt, ready), attempt.again * attempt.seconds)
        if kills:
            found = _examined(settings, attempt)
    except ChildProcessError as error:
        found.incomplete.append(str(error))
        kills = max(kills, 1)  # or nobody would hear of it
    return Crash(attempt, kills, found)


def _outlived(settings: Settings, attempt: Attempt) -> Crash:
    """Kill the removal process, and look at what its service does, and at what the next process finds."""
    kills, found = 1, Examination()
    try:
        kills, found = _parsed(in_child(lambda: _plain(settings, attempt)))
        if kills:
            found.add(_examined(settings, attempt, OTHER.request.user_ids))
    except ChildProcessError as error:
        found.incomplete.append(str(error))
    return Crash(attempt, kills, found)


def _examined(settings: Settings, attempt: Attempt, gone: tuple[str, ...] = ()) -> Examination:
    """What the next process finds, where these users were forgotten after the others."""
    case, expected = attempt.rehearsal.case, attempt.rehearsal.expected.without(gone)
    return Examination(**in_child(lambda: asdict(examine(settings, case, expected, attempt.recovery))))


def _plain(settings: Settings, attempt: Attempt) -> list[Any]:
    rehearsal, delay = attempt.rehearsal, attempt.at * attempt.seconds
    kills, found = outlive(settings, rehearsal.case, rehearsal.expected, attempt.point, delay)
    return [kills, asdict(found)]


def _parsed(plain: Sequence[Any]) -> tuple[int, Examination]:
    return plain[0], Examination(**plain[1])


def _work(settings: Settings, attempt: Attempt) -> Callable[[Connection], None]:
    """What the process does that is killed."""
    case, point = attempt.rehearsal.case, attempt.point
    if attempt.victim == "service":
        return lambda ready: serve_until_killed(settings, case, Ending(point, of_service=True), ready)
    return lambda ready: _carry_out(settings, attempt, ready)


def _carry_out(settings: Settings, attempt: Attempt, ready: Connection) -> None:
    """Be the process that is killed."""
    point = attempt.point

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

    carry_out(settings, attempt.rehearsal.case, dying())


def _recover(settings: Settings, attempt: Attempt, ready: Connection) -> None:
    ready.send_bytes(b"starts")
    recover(settings, attempt.rehearsal.case, attempt.rehearsal.expected, attempt.recovery)


def _tell(crash: Crash) -> None:
    faults = {kind: getattr(crash.found, kind) for kind in FAULTS if getattr(crash.found, kind)}
    if faults:
        attempt = crash.attempt
        print(attempt.kind, attempt.rehearsal.case.name, attempt.point, faults, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
