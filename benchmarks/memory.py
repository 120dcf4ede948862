"""Memory of the service: resident bytes with ML-1M loaded, and what one interaction and one user add.

The baseline is the same service with the same catalogue and nobody in it, so the difference is what people cost.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.home import BENCH, KEY, build_home, building, is_current, prepared_home, running_service, user_ids
from benchmarks.load import Target, run_load
from benchmarks.report import Row, without_options, write_results

DATASET = "ml-1m"
SEED = 0
CATALOGUE = "ml-1m-catalogue"
WARM_UP = 1_000
MIB = 2**20


def main() -> None:
    """Measure and write ``benchmarks/results/memory.json``."""
    without_options(__doc__)
    users = user_ids(DATASET)
    baseline = measure(_catalogue_home(), users)
    loaded = measure(prepared_home(DATASET), users)
    people = loaded["process_resident_memory_bytes"] - baseline["process_resident_memory_bytes"]
    rows = [
        _row("service, catalogue only", baseline),
        _row("service, ML-1M", loaded),
        {
            "name": "people",
            "bytes": round(people),
            "bytes_per_interaction": round(people / loaded["ragrec_interactions"], 1),
            "bytes_per_user": round(people / loaded["ragrec_users"], 1),
        },
    ]
    print(write_results("memory", rows, SEED, {DATASET: rows}))  # noqa: T201 - the command's result


def measure(home: Path, users: list[str]) -> dict[str, float]:
    """The metrics of a service on this home after a thousand recommendations."""
    with running_service(home) as url:
        target = Target(url, KEY)
        requests = (
            target.request("POST", "/v1/recommendations", {"user_id": users[number % len(users)]})
            for number in range(WARM_UP)
        )
        run_load(target, list(requests))
        return target.metrics()


def _catalogue_home() -> Path:
    """A home with the catalogue of ML-1M and nobody in it."""
    home = BENCH / CATALOGUE / "home"
    if not is_current(home):
        prepared_home(DATASET)
        with building(home) as unfinished:
            source = unfinished.parent / "source"
            source.mkdir()
            movies = (BENCH / DATASET / "source" / "movies.dat").read_bytes()
            (source / "movies.dat").write_bytes(movies)
            for name in ("users.dat", "ratings.dat"):
                (source / name).touch()
            build_home(unfinished, source, "movielens-1m")
    return home


def _row(name: str, metrics: dict[str, float]) -> Row:
    return {
        "name": name,
        "resident_mib": round(metrics["process_resident_memory_bytes"] / MIB, 1),
        "items": int(metrics["ragrec_items"]),
        "users": int(metrics["ragrec_users"]),
        "interactions": int(metrics["ragrec_interactions"]),
    }


if __name__ == "__main__":
    main()
