"""Cases carried out undisturbed, to know what a removal does and how long it takes before processes are killed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.methods.children import die, in_child
from benchmarks.methods.crash_cases import Case, Expected, expectation
from benchmarks.methods.interruptions import counted, watch_operations
from benchmarks.methods.removal_service import seconds_of
from rag_rec.engine.tending import open_saga
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from tests.homes import engine_of, settings_for
from tests.rag_rec.forgetting.asking import confirmed


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A case that was carried out undisturbed: what it needs, and what it does.

    Attributes:
        case: what was carried out.
        expected: what there was before.
        calls: of each place at which a removal can be interrupted.
        operations: file operations.
        seconds: of a removal in the process that is asked.
        seconds_apart: of one in a process of its own; None for a command, which has none.
    """

    case: Case
    expected: Expected
    calls: dict[str, int]
    operations: int
    seconds: float
    seconds_apart: float | None


def rehearse(folder: Path, template: Path, case: Case) -> Rehearsal:
    """Carry a case out: to count the calls of its parts, to time it and count its file operations, and apart."""
    homes = [folder / "counted", folder / "timed", folder / "apart"]
    for home in homes:
        shutil.copytree(template, home)
    counted_in, timed_in, apart_in = map(settings_for, homes)
    expected = Expected.parsed(in_child(lambda: _expect(counted_in, case)))
    calls = in_child(lambda: _count(counted_in, case))
    operations, seconds = in_child(lambda: _time(timed_in, case))
    seconds_apart = in_child(lambda: seconds_of(apart_in, case)) if case.served else None
    for home in homes:
        shutil.rmtree(home)
    return Rehearsal(case, expected, calls, operations, seconds, seconds_apart)


def carry_out(settings: Settings, case: Case, around: AbstractContextManager[None]) -> None:
    """Carry a request out, in a service or as a command; when everything is open and planned, within a context."""
    if case.served:
        engine = engine_of(settings)
        engine.attendance.join()
        request = confirmed(engine.officer, case.request)
        with around:
            engine.officer.forget(request)
        engine.close()
        return
    store = store_of(settings)
    saga = open_saga(settings, store)
    request = confirmed(saga, case.request)
    with around:
        saga.forget(request)
    store.close()


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

    carry_out(settings, case, counting())
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

    carry_out(settings, case, timing())
    return operations[0], spent[0]
