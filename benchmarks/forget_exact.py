"""Forgetting one user on the exact layers, in a running service with ML-1M loaded: ``DELETE /v1/users/{id}``.

The answer comes when the user is gone from the store, the vector indices (memory and files) and the statistics. Users
are drawn at random and removed one after the other; after each removal the service must not know the user any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import numpy as np

from benchmarks.home import KEY, copied_home, running_service, user_ids
from benchmarks.report import Row, write_results

DATASET = "ml-1m"
SEED = 0
USERS = 50


@dataclass(frozen=True)
class Removal:
    """One removal: how long the call took, and what the service says of it."""

    seconds: float
    outcome: Mapping[str, Any]


def main() -> None:
    """Measure and write ``benchmarks/results/forget_exact.json``."""
    chosen = np.random.default_rng(SEED).choice(user_ids(DATASET), USERS, replace=False)
    with copied_home(DATASET) as home, running_service(home) as url:
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            removals = [forget(client, str(user)) for user in chosen]
    rows = [_row("DELETE /v1/users/{id}", [removal.seconds for removal in removals], removals), *_layers(removals)]
    print(write_results("forget_exact", rows, SEED, {DATASET: rows}))  # noqa: T201 - the command's result


def forget(client: httpx.Client, user: str) -> Removal:
    """Forget a user, and check that the service knows the user no more.

    Raises:
        RuntimeError: something of the user is still there.
    """
    started = perf_counter()
    response = client.delete(f"/v1/users/{user}", params={"confirm": user})
    seconds = perf_counter() - started
    response.raise_for_status()
    if client.get(f"/v1/users/{user}/export").status_code != httpx.codes.NOT_FOUND:
        raise RuntimeError("A user can be exported after the removal.")
    answer = client.post("/v1/recommendations", json={"user_id": user}).raise_for_status().json()
    if answer["provenance"]["known_user"]:
        raise RuntimeError("A user is known after the removal.")
    return Removal(seconds, response.json())


def _row(name: str, seconds: Sequence[float], removals: Sequence[Removal]) -> Row:
    return {
        "name": name,
        "p50_ms": round(float(1000 * np.percentile(seconds, 50)), 2),
        "p99_ms": round(float(1000 * np.percentile(seconds, 99)), 2),
        "users": len(removals),
        "interactions_p50": median(removal.outcome["removed"].get("interactions", 0) for removal in removals),
    }


def _layers(removals: Sequence[Removal]) -> list[Row]:
    """The parts of the removal as the service times them."""
    names = list(removals[0].outcome["timings_ms"])
    return [
        _row(f"layer: {name}", [removal.outcome["timings_ms"].get(name, 0) / 1000 for removal in removals], removals)
        for name in names
    ]


if __name__ == "__main__":
    main()
