"""Forgetting in a running service with ML-1M loaded: one by one, a thousand in a row, a batch, and under load.

Each removal is a dry run and then ``DELETE /v1/users/{id}`` with its plan. The time of the second is reported, from the
request to the answer that says that the person is gone from store, index files and memory, and that no answer made
before can leave any more. Every section has a fresh copy of the data and a service of its own; users are drawn at
random.

``--dataset ml-100k`` runs it on the smaller set, with fewer users, and writes no result.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final

import httpx
import numpy as np
import orjson
import uvloop

from benchmarks.home import ENVIRONMENT, KEY, copied_home, running_service, user_ids
from benchmarks.load import Answer, Connection, Target
from benchmarks.paced import Call, Paced, Stream, plain, run_streams
from benchmarks.report import Row, write_results
from demo.service import Commands
from rag_rec.domain import Strategy

SEED: Final = 0
PATIENCE_SECONDS: Final = 3600.0  # a proof compares the lists of everybody
HUNDRED: Final = 100
INVERSE: Final = "inverse P (relative)"


@dataclass(frozen=True)
class Extent:
    """How much is measured: users of each section, seconds of a phase under load, and how many pairs of phases."""

    dataset: str = "ml-1m"
    single: int = 200
    row: int = 1000
    phase_seconds: int = 20
    pairs: int = 5
    recommendations_per_s: int = 25
    forgets_per_s: int = 5


SMALL: Final = Extent("ml-100k", single=20, row=200, phase_seconds=5, pairs=2)


@dataclass(frozen=True)
class Removal:
    """One removal: seconds of the dry run and of the removal, and what the service says of it."""

    plan_seconds: float
    seconds: float
    outcome: Mapping[str, Any]


class Officer:
    """Forgets people through the HTTP interface."""

    def __init__(self, target: Target) -> None:
        headers = {"Authorization": f"Bearer {target.key}"}
        self._client = httpx.Client(base_url=target.url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)

    def forget(self, user: str) -> Removal:
        """Forget a user."""
        path = f"/v1/users/{user}"
        return self._removal(lambda **words: self._client.delete(path, params=words), user)

    def forget_batch(self, users: Sequence[str]) -> Removal:
        """Forget several users at once."""
        body = {"user_ids": list(users), "scope": "user"}
        return self._removal(lambda **words: self._client.post("/v1/forget", json=body | words), str(len(users)))

    def check_gone(self, user: str) -> None:
        """Raise ``RuntimeError`` if the service still knows a user."""
        if self._client.get(f"/v1/users/{user}/export").status_code != httpx.codes.NOT_FOUND:
            raise RuntimeError("A user can be exported after the removal.")
        answer = self._client.post("/v1/recommendations", json={"user_id": user}).raise_for_status().json()
        if answer["provenance"]["known_user"]:
            raise RuntimeError("A user is known after the removal.")

    def prove(self, request: str) -> dict[str, Any]:
        """The table of a twin proof of the running service."""
        table: dict[str, Any] = self._client.post(f"/v1/forget/{request}/prove").raise_for_status().json()
        return table

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _removal(self, call: Callable[..., httpx.Response], subject: str) -> Removal:
        started = perf_counter()
        plan = call(dry_run=True).raise_for_status().json()["plan"]
        planned = perf_counter()
        outcome = call(confirm=subject, plan=plan).raise_for_status().json()
        return Removal(planned - started, perf_counter() - planned, outcome)


def main() -> None:
    """Measure and write ``benchmarks/results/forget.json``."""
    extent = _extent()
    rows = [*one_by_one(extent), in_a_row(extent), as_batch(extent), under_load(extent)]
    if extent == SMALL:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())  # noqa: T201 - the command's result
    else:
        print(write_results("forget", rows, SEED, {extent.dataset: rows}))  # noqa: T201 - the command's result


def one_by_one(extent: Extent) -> list[Row]:
    """Single users; then a rebuild of what remains, and whether the service that forgot equals it."""
    with copied_home(extent.dataset) as home:
        with _officer(home) as officer:
            removals = [_forgotten(officer, user) for user in _drawn(extent, extent.single)]
            request = removals[-1].outcome["request_id"]
            equal = officer.prove(request)["equal"]
        single = _single_row(removals)
        return [single, *_step_rows(removals), _rebuild_row(home, request, single, equal=equal)]


def in_a_row(extent: Extent) -> Row:
    """Many users one after the other, and how far P has drifted from a fresh inverse."""
    with copied_home(extent.dataset) as home, _officer(home) as officer:
        removals = [officer.forget(user) for user in _drawn(extent, extent.row)]
        proof = officer.prove(removals[-1].outcome["request_id"])
    drift = next(row["worst"] for row in proof["rows"] if row["check"] == INVERSE)
    seconds = [removal.seconds for removal in removals]
    return {
        "name": "sequential-1000",
        "first_hundred_p50_ms": _percentile_ms(seconds[:HUNDRED], 50),
        "last_hundred_p50_ms": _percentile_ms(seconds[-HUNDRED:], 50),
        "p50_ms": _percentile_ms(seconds, 50),
        "p99_ms": _percentile_ms(seconds, 99),
        "users": len(removals),
        "drift": drift,
        "equal": proof["equal"],
    }


def as_batch(extent: Extent) -> Row:
    """A tenth of all users in one request."""
    tenth = round(len(user_ids(extent.dataset)) / 10)
    with copied_home(extent.dataset) as home, _officer(home) as officer:
        users = _drawn(extent, tenth)
        removal = officer.forget_batch(users)
        for user in users[:20]:
            officer.check_gone(user)
    return {
        "name": "batch-10pct",
        "seconds": round(removal.seconds, 3),
        "plan_seconds": round(removal.plan_seconds, 3),
        "users": tenth,
        "interactions": removal.outcome["removed"]["interactions"],
    }


def under_load(extent: Extent) -> Row:
    """Recommendations at a steady rate: without and with removals, in alternating phases of one service."""
    count = extent.phase_seconds * extent.forgets_per_s
    leaving = _drawn(extent, extent.pairs * count)
    staying = sorted(set(user_ids(extent.dataset)) - set(leaving))
    quiet: list[Paced] = []
    loaded: list[Paced] = []
    removals: list[Paced] = []
    with copied_home(extent.dataset) as home, running_service(home) as url:
        target = Target(url, KEY)
        run = partial(_phase, target, staying, extent)
        run([], seed=SEED)
        for pair in range(extent.pairs):
            quiet.append(run([], seed=pair)[0])
            both = run(leaving[pair * count : (pair + 1) * count], seed=pair)
            loaded.append(both[0])
            removals.append(both[1])
    return _load_row(extent, quiet, loaded, removals)


def _phase(target: Target, staying: Sequence[str], extent: Extent, leaving: Sequence[str], seed: int) -> list[Paced]:
    """Some seconds of recommendations at even intervals, and of removals in between if anybody is to leave."""
    number = extent.phase_seconds * extent.recommendations_per_s
    users = np.random.default_rng(seed).choice(staying, number)
    calls = [plain(_recommendation(target, str(user), place)) for place, user in enumerate(users)]
    streams = [Stream(calls, extent.recommendations_per_s, connections=8)]
    if leaving:
        removals = [_removal(target, user) for user in leaving]
        streams.append(Stream(removals, extent.forgets_per_s, connections=2, seed=seed))
    return uvloop.run(run_streams(target, *streams))


def _recommendation(target: Target, user: str, place: int) -> bytes:
    strategy = tuple(Strategy)[place % len(Strategy)]
    return target.request("POST", "/v1/recommendations", {"user_id": user, "k": 10, "strategy": strategy})


def _removal(target: Target, user: str) -> Call:
    async def forget(connection: Connection) -> Answer:
        planned = await connection.send(target.request("DELETE", f"/v1/users/{user}?dry_run=true"))
        if planned.status != httpx.codes.OK:
            return planned
        plan = orjson.loads(planned.body)["plan"]
        return await connection.send(target.request("DELETE", f"/v1/users/{user}?confirm={user}&plan={plan}"))

    return forget


def _load_row(extent: Extent, quiet: Sequence[Paced], loaded: Sequence[Paced], removals: Sequence[Paced]) -> Row:
    quiet_p99 = median(each.percentile_ms(99) for each in quiet)
    loaded_p99 = median(each.percentile_ms(99) for each in loaded)
    return {
        "name": "under-load",
        "quiet_p50_ms": round(median(each.percentile_ms(50) for each in quiet), 3),
        "loaded_p50_ms": round(median(each.percentile_ms(50) for each in loaded), 3),
        "quiet_p99_ms": round(quiet_p99, 3),
        "loaded_p99_ms": round(loaded_p99, 3),
        "ratio": round(loaded_p99 / quiet_p99, 2),
        "recommendations_per_s": extent.recommendations_per_s,
        "forgets_per_s": round(median(len(each.seconds) / each.wall for each in removals), 2),
        "forget_p50_ms": round(median(each.percentile_ms(50) for each in removals), 2),
        "forget_p99_ms": round(median(each.percentile_ms(99) for each in removals), 2),
        "errors": sum(each.errors for each in [*quiet, *loaded, *removals]),
        "phases": 2 * extent.pairs,
        "phase_seconds": extent.phase_seconds,
    }


def _single_row(removals: Sequence[Removal]) -> Row:
    seconds = [removal.seconds for removal in removals]
    return {
        "name": "one-user",
        "p50_ms": _percentile_ms(seconds, 50),
        "p99_ms": _percentile_ms(seconds, 99),
        "plan_p50_ms": _percentile_ms([removal.plan_seconds for removal in removals], 50),
        "users": len(removals),
        "interactions_p50": median(removal.outcome["removed"]["interactions"] for removal in removals),
    }


def _step_rows(removals: Sequence[Removal]) -> list[Row]:
    """The steps of a removal as the service times them."""
    return [_step_row(step, removals) for step in removals[0].outcome["timings_ms"]]


def _step_row(step: str, removals: Sequence[Removal]) -> Row:
    seconds = [removal.outcome["timings_ms"].get(step, 0.0) / 1000 for removal in removals]
    p50, p99 = (_percentile_ms(seconds, share) for share in (50, 99))
    return {"name": f"one-user, step {step}", "p50_ms": p50, "p99_ms": p99, "users": len(removals)}


def _rebuild_row(home: Path, request: str, single: Row, *, equal: bool) -> Row:
    """A rebuild of the same data, and whether the service before it and the index after it equal the twin."""
    commands = Commands(home, ENVIRONMENT)
    started = perf_counter()
    commands.run("index", "rebuild", "--embed-again")
    seconds = perf_counter() - started
    proof = commands.run("prove", request)
    return {
        "name": "rebuild",
        "seconds": round(seconds, 2),
        "times_slower_than_one_user": round(1000 * seconds / single["p50_ms"], 1),
        "equal": equal and proof["equal"],
    }


@contextmanager
def _officer(home: Path) -> Iterator[Officer]:
    with running_service(home) as url, closing(Officer(Target(url, KEY))) as officer:
        yield officer


def _forgotten(officer: Officer, user: str) -> Removal:
    removal = officer.forget(user)
    officer.check_gone(user)
    return removal


def _drawn(extent: Extent, count: int) -> list[str]:
    return [str(user) for user in np.random.default_rng(SEED).choice(user_ids(extent.dataset), count, replace=False)]


def _percentile_ms(seconds: Sequence[float], share: float) -> float:
    return round(1000 * float(np.percentile(seconds, share)), 2)


def _extent() -> Extent:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dataset", choices=[Extent.dataset, SMALL.dataset], default=Extent.dataset)
    return Extent() if parser.parse_args().dataset == Extent.dataset else SMALL


if __name__ == "__main__":
    main()
