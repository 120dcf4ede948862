"""Goodput under more load than the service can carry: recommendations at 1, 2 and 4 times its capacity, open loop.

Callers come at a steady rate whatever becomes of the others, and a refused one does not wait before it is counted: what
many independent callers without back-off do. They run on the same cores as the service, and what they cost is lost to
it. Health checks and dry runs of removals run beside. With ``--baseline FOLDER``, the checkout of an earlier commit is
measured in the same rounds, at the same rates.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import uvloop

from benchmarks.home import KEY, ROOT, prepared_home, running_service, user_ids
from benchmarks.load import Answer, Connection, Target, run_load
from benchmarks.paced import Call, Paced, Stream, run_streams
from benchmarks.report import Row, write_results

DATASET = "ml-100k"
SEED = 0
CAPACITY_REQUESTS = 2_000
CONNECTIONS = 256
TIMELY = 1.0  # seconds from when a call was due until when its answer still counts
LOADS = (1, 2, 4)


@dataclass
class Measured:
    """One run at one rate."""

    offered: float
    goodput: float
    refused: float
    answered: Paced
    health: Paced
    dry_runs: Paced


@dataclass
class Contender:
    """A version of the service, and what was measured of it."""

    name: str
    folder: Path
    capacity: list[float] = field(default_factory=list)
    runs: dict[int, list[Measured]] = field(default_factory=dict)


def main() -> None:
    """Measure and write ``benchmarks/results/overload.json``."""
    arguments = _arguments()
    home, users = prepared_home(DATASET), user_ids(DATASET)
    contenders = [Contender("after", ROOT)]
    if arguments.baseline is not None:
        contenders.insert(0, Contender("before", arguments.baseline.resolve()))
    rate: float | None = None
    for round_number in range(arguments.rounds):
        for contender in contenders if round_number % 2 == 0 else contenders[::-1]:
            environment = {"PYTHONPATH": str(contender.folder), "OMP_NUM_THREADS": "1"}
            with running_service(home, **environment) as url:
                target = Target(url, KEY)
                capacity = _capacity(target, users)
                contender.capacity.append(capacity)
                rate = rate or capacity
                for load in LOADS:
                    measured = uvloop.run(_measure(target, users, load * rate, arguments.seconds))
                    contender.runs.setdefault(load, []).append(measured)
    rows = [_row(contender, load) for contender in contenders for load in LOADS]
    print(write_results("overload", rows, SEED, {DATASET: rows}))  # noqa: T201 - the command's result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--baseline", type=Path, help="checkout of an earlier commit to measure beside")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each run at each rate")
    return parser.parse_args()


def _capacity(target: Target, users: Sequence[str]) -> float:
    """Answers a second that eight callers get who each wait for the answer before they ask again."""
    requests = _recommendations(target, users, CAPACITY_REQUESTS)
    run_load(target, requests[: CAPACITY_REQUESTS // 4], connections=8)
    return run_load(target, requests, connections=8).requests_per_s


async def _measure(target: Target, users: Sequence[str], rate: float, seconds: float) -> Measured:
    requests = _recommendations(target, users, int(rate * seconds))
    statuses = np.zeros(len(requests), dtype=np.int64)
    calls = [_recorded(request, statuses, number) for number, request in enumerate(requests)]
    health = [_plain(target.request("GET", "/healthz"))] * int(20 * seconds)
    dry_run = [_plain(target.request("DELETE", f"/v1/users/{users[0]}?dry_run=true"))] * int(5 * seconds)
    answered, healthy, dry = await run_streams(
        target,
        Stream(calls, rate, CONNECTIONS, seed=SEED),
        Stream(health, 20, 8, seed=SEED + 1),
        Stream(dry_run, 5, 8, seed=SEED + 2),
    )
    good = (statuses == 200) & (answered.seconds <= TIMELY)
    kept = Paced(answered.seconds[good], answered.errors, answered.wall)
    refused = float((statuses == 503).sum()) / answered.wall
    return Measured(len(requests) / answered.wall, good.sum() / answered.wall, refused, kept, healthy, dry)


def _recorded(request: bytes, statuses: np.ndarray[tuple[int], np.dtype[np.int64]], number: int) -> Call:
    async def call(connection: Connection) -> Answer:
        answer = await connection.send(request)
        statuses[number] = answer.status
        return answer

    return call


def _plain(request: bytes) -> Call:
    return lambda connection: connection.send(request)


def _recommendations(target: Target, users: Sequence[str], count: int) -> list[bytes]:
    drawn = np.random.default_rng(SEED).choice(users, count)
    return [target.request("POST", "/v1/recommendations", {"user_id": str(user), "k": 10}) for user in drawn]


def _row(contender: Contender, load: int) -> Row:
    runs, capacity = contender.runs[load], median(contender.capacity)
    goodput = median(run.goodput for run in runs)
    return {
        "name": f"{contender.name}, {load} times the capacity",
        "offered_per_s": round(median(run.offered for run in runs), 1),
        "goodput_per_s": round(goodput, 1),
        "capacity_per_s": round(capacity, 1),
        "share_of_capacity": round(goodput / capacity, 3),
        "refused_per_s": round(median(run.refused for run in runs), 1),
        "p50_ms": round(median(run.answered.percentile_ms(50) for run in runs), 1),
        "p99_ms": round(median(run.answered.percentile_ms(99) for run in runs), 1),
        "health_p50_ms": round(median(run.health.percentile_ms(50) for run in runs), 1),
        "health_p99_ms": round(median(run.health.percentile_ms(99) for run in runs), 1),
        "dry_run_p99_ms": round(median(run.dry_runs.percentile_ms(99) for run in runs), 1),
        "dry_run_errors": sum(run.dry_runs.errors for run in runs),
        "cores": os.cpu_count(),
        "rounds": len(runs),
    }


if __name__ == "__main__":
    main()
