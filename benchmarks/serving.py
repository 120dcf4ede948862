"""HTTP recommendations of the real service: latency with one client, throughput with eight. Run with no other load.

The service is a process of its own (``rag-rec serve``) with ML-1M loaded; users are drawn at random and the three
strategies take turns. The health check shows what the HTTP layer alone costs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from statistics import median

import numpy as np
import numpy.typing as npt

from benchmarks.home import KEY, prepared_home, running_service, user_ids
from benchmarks.load import Load, Target, run_load
from benchmarks.report import Row, without_options, write_results
from rag_rec.domain import Strategy

DATASET = "ml-1m"
SEED = 0
REQUESTS = 2_100  # per run, a multiple of the number of strategies
WARM_UP = 300
REPETITIONS = 3
CONNECTIONS = 8
STRATEGIES = tuple(Strategy)


def main() -> None:
    """Measure and write ``benchmarks/results/serving.json``."""
    without_options(__doc__)
    home, users = prepared_home(DATASET), user_ids(DATASET)
    with running_service(home, **_settings()) as url:
        target = Target(url, KEY)
        run_load(target, _recommendations(target, users, SEED)[:WARM_UP])
        measure = partial(_repeat, target, users)
        single, many = measure(connections=1), measure(connections=CONNECTIONS)
        health = [run_load(target, [target.request("GET", "/healthz")] * REQUESTS) for _ in range(REPETITIONS)]
    rows = [
        _row("recommendation, one client", single),
        *_strategy_rows(single),
        _row(f"recommendation, {CONNECTIONS} connections", many),
        _row("health check, one client", health),
    ]
    print(write_results("serving", rows, SEED, {DATASET: rows}))  # noqa: T201 - the command's result


def _settings() -> dict[str, str]:
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}


def _repeat(target: Target, users: Sequence[str], connections: int) -> list[Load]:
    return [
        run_load(target, _recommendations(target, users, SEED + 1 + repetition), connections)
        for repetition in range(REPETITIONS)
    ]


def _recommendations(target: Target, users: Sequence[str], seed: int) -> list[bytes]:
    drawn = np.random.default_rng(seed).choice(users, REQUESTS)
    bodies = (
        {"user_id": str(user), "k": 10, "strategy": STRATEGIES[number % len(STRATEGIES)]}
        for number, user in enumerate(drawn)
    )
    return [target.request("POST", "/v1/recommendations", body) for body in bodies]


def _row(name: str, loads: Sequence[Load]) -> Row:
    return {
        **_latency(name, [load.seconds for load in loads]),
        "requests_per_s": round(median(load.requests_per_s for load in loads), 1),
        "processor_ms": round(median(1000 * load.processor / len(load.seconds) for load in loads), 3),
        "repetitions": len(loads),
    }


def _latency(name: str, runs: Sequence[npt.NDArray[np.float64]]) -> dict[str, object]:
    """Medians over the runs of the percentiles of each."""
    return {
        "name": name,
        "p50_ms": round(median(1000 * float(np.percentile(run, 50)) for run in runs), 3),
        "p99_ms": round(median(1000 * float(np.percentile(run, 99)) for run in runs), 3),
        "requests": len(runs[0]),
    }


def _strategy_rows(loads: Sequence[Load]) -> Sequence[Row]:
    """Latency by strategy; the strategies took turns, so each has every third request."""
    rows = []
    for place, strategy in enumerate(STRATEGIES):
        seconds = [load.seconds[place :: len(STRATEGIES)] for load in loads]
        rows.append(_latency(f"recommendation, {strategy}", seconds))
    return rows


if __name__ == "__main__":
    main()
