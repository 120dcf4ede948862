"""How long a removal takes beside a second service on the same store, compared with one service alone.

In each round one service forgets people one after the other, over HTTP; then a second service is started on the same
data folder, and the first one goes on with others. The order of the two changes from round to round. The time is that
of ``DELETE /v1/users/{id}`` with a plan, as in :mod:`benchmarks.forget`.

With ``--postgresql`` the store is the empty database that RAGREC_STORE_URL names; otherwise it is the SQLite file of
the data folder. The results of both are kept in one file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import orjson

from benchmarks.forget import Officer
from benchmarks.home import ENVIRONMENT, KEY, copied_home, running_service, user_ids
from benchmarks.load import Target
from benchmarks.report import Row, earlier, write_results
from demo.service import Commands

SEED: Final = 0
NAME: Final = "forget_two_services"
STORES: Final = ("sqlite", "postgresql")


@dataclass
class Measured:
    """Removals in one set-up: milliseconds of each, by round, and the states that they were answered with."""

    rounds: list[list[float]] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)

    def row(self, name: str) -> Row:
        """What is reported of it: the median over the rounds."""
        each = [value for values in self.rounds for value in values]
        return {
            "name": name,
            "p50_ms": round(median(median(values) for values in self.rounds), 2),
            "p99_ms": round(float(np.percentile(each, 99)), 2),
            "max_ms": round(max(each), 2),
            "users": len(each),
            "rounds": len(self.rounds),
            "states": dict(self.states),
        }


def main() -> None:
    """Measure and write ``benchmarks/results/forget_two_services.json``."""
    arguments = _arguments()
    alone, beside = Measured(), Measured()
    people = iter(_drawn(arguments.dataset, 2 * arguments.rounds * arguments.users))
    store = "postgresql" if arguments.postgresql else "sqlite"
    with _home(arguments.dataset, _database() if arguments.postgresql else None) as (home, settings):
        for number in range(arguments.rounds):
            plan = [(alone, 1), (beside, 2)]
            for measured, services in plan if number % 2 == 0 else reversed(plan):
                leaving = [next(people) for _ in range(arguments.users)]
                _forget(home, settings, services, leaving, measured)
    rows: list[Row] = [alone.row("one service"), beside.row("two services")]
    rows = [{**row, "store": store} for row in rows]
    rows.append({"name": "ratio of p50", "store": store, "ratio": round(rows[1]["p50_ms"] / rows[0]["p50_ms"], 3)})
    if arguments.no_result:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())  # noqa: T201 - the command's result
    else:
        print(write_results(NAME, rows, SEED, {**earlier(NAME, STORES), store: rows}))  # noqa: T201 - the command's result


def _forget(home: Path, settings: dict[str, str], services: int, people: Sequence[str], measured: Measured) -> None:
    """Forget some people through the first of so many services."""
    with ExitStack() as stack:
        urls = [stack.enter_context(running_service(home, **settings)) for _ in range(services)]
        officer = Officer(Target(urls[0], KEY))
        stack.callback(officer.close)
        removals = [officer.forget(user) for user in people]
    measured.rounds.append([1000 * removal.seconds for removal in removals])
    measured.states.update(removal.outcome["state"] for removal in removals)


@contextmanager
def _home(dataset: str, store_url: str | None) -> Iterator[tuple[Path, dict[str, str]]]:
    """A home that may be changed, and the settings that lead to its store."""
    with copied_home(dataset) as home:
        if store_url is None:
            yield home, {}
            return
        backup = home.parent / "store.backup"
        Commands(home, ENVIRONMENT).run("backup", str(backup))
        settings = {"RAGREC_STORE_URL": store_url}
        moved = Commands(home, {**ENVIRONMENT, **settings})
        moved.run("restore", str(backup), "--without-later-erasures")
        moved.run("index", "build")
        yield home, settings


def _database() -> str:
    """The URL in the environment: it may hold a password, which must not be among the arguments that are kept."""
    url = os.environ.get("RAGREC_STORE_URL")
    if not url:
        sys.exit("Set RAGREC_STORE_URL to an empty PostgreSQL database.")
    return url


def _drawn(dataset: str, count: int) -> list[str]:
    return [str(user) for user in np.random.default_rng(SEED).choice(user_ids(dataset), count, replace=False)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--dataset", choices=["ml-1m", "ml-100k"], default="ml-1m")
    parser.add_argument("--postgresql", action="store_true", help="Use the empty database of RAGREC_STORE_URL.")
    parser.add_argument("--rounds", type=int, default=6, help="Rounds of both set-ups.")
    parser.add_argument("--users", type=int, default=50, help="People forgotten in each set-up of a round.")
    parser.add_argument("--no-result", action="store_true", help="Print the rows and write no file.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
