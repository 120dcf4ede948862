"""From a DELETE to a complete receipt, beside a running service: how long the adapter takes, by each method.

An adapter is trained on the benchmark's people but for a reserve. Then people of its lineage are forgotten over HTTP,
and `rag-rec adapter unlearn` runs in a process of its own, as on a schedule; the service follows by itself. Measured
are the seconds until the last receipt is complete, and what a receipt says. The trainings come last: each empties the
budget.

With ``--shards 4`` the adapter is trained in so many shards, and people leave it by the shards that they were in.

Usage: ``python -m benchmarks.unlearn_service [--dataset ml-1m] [--methods influence retrain] [--shards 4]``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import product
from time import perf_counter
from typing import Any, Final

import httpx
import numpy as np

from benchmarks.forget import Officer
from benchmarks.home import ENVIRONMENT, KEY, copied_home, running_service, user_ids
from benchmarks.load import Target
from benchmarks.report import Row, earlier, write_results
from demo.service import Commands
from rag_rec.compact.people import RESERVE
from rag_rec.errors import RagRecError
from rag_rec.evaluation.held_out import is_held_out

DATASETS: Final = ("ml-100k", "ml-1m")
SEED: Final = 0
SHARE: Final = 0.05
"""Of the people, in the reserve."""
BUDGET: Final = {"RAGREC_ADAPTER_BUDGET": "1"}
PATIENCE_SECONDS: Final = 60.0
METHODS: Final = ("influence", "retrain")
SHARDS: Final = "shards"
PEOPLE: Final = (1, 10)


class Waiting:
    """Asks for receipts until they are complete."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)

    def until_complete(self, request: str) -> dict[str, Any]:
        """The receipt of a request once it is complete; raises ``RuntimeError`` when it does not become so."""
        limit = perf_counter() + PATIENCE_SECONDS
        while perf_counter() < limit:
            receipt: dict[str, Any] = self._client.get(f"/v1/forget/{request}/receipt").raise_for_status().json()
            if receipt["complete"]:
                return receipt
        raise RuntimeError("A receipt did not become complete after the adapter was replaced.")

    def close(self) -> None:
        """Close connections."""
        self._client.close()


def measured(dataset: str, methods: Sequence[str], shards: int = 1) -> Iterator[Row]:
    """A row for the first training, in so many shards, and one for each method and number of people."""
    with copied_home(dataset) as home:
        commands = Commands(home, {**ENVIRONMENT, **BUDGET})
        started = perf_counter()
        built = commands.run("compact", "build", "--reserve", str(SHARE), "--shards", str(shards), "--device", "cpu")
        yield {"name": "training", "people": built["users"], "seconds": perf_counter() - started, "gate": _gate(built)}
        leaving = iter(_learned(dataset))
        with running_service(home, **BUDGET) as url:
            for method, people in product(methods, PEOPLE):
                yield _row(commands, url, method, [next(leaving) for _ in range(people)])


def _row(commands: Commands, url: str, method: str, users: Sequence[str]) -> Row:
    with closing(Officer(Target(url, KEY))) as officer, closing(Waiting(url)) as waiting:
        started = perf_counter()
        requests = [officer.forget(user).outcome["request_id"] for user in users]
        forgotten = perf_counter()
        row: Row = {"name": method, "people": len(users), "forget seconds": forgotten - started}
        try:
            done = commands.run("adapter", "unlearn", "--method", method, "--device", "cpu")
        except RagRecError as refused:
            return {**row, "refused": str(refused)}
        receipts = [waiting.until_complete(request) for request in requests]
        (line,) = [each for each in receipts[-1]["layers"] if each["layer"] == "adapter"]
        told = {name: line["detail"][name] for name in TOLD if name in line["detail"]}
        return {
            **row,
            "unlearn seconds": done["seconds"],
            "seconds": perf_counter() - started,
            "receipt": line["status"],
            **told,
            "gate": _gate(done),
        }


TOLD: Final = ("auc_before", "auc", "low", "high", "gain_before_nats", "gain_nats", "lost_nats", "stand_ins", "reserve")


def _gate(done: dict[str, Any]) -> str:
    """What the gate said of the adapter, in words; the whole of it is in the command's answer."""
    gate = done["gate"]
    return gate if isinstance(gate, str) else str(gate["decision"])


def _learned(dataset: str) -> list[str]:
    """People who are not in the reserve, in a seeded order."""
    order = np.random.default_rng(SEED).permutation(user_ids(dataset)).tolist()
    return [str(user) for user in order if not is_held_out(str(user), SHARE, SEED, RESERVE)]


def main() -> None:
    """Measure and write ``benchmarks/results/unlearn_service.json``; the rows are written as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="ml-1m", choices=DATASETS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--shards", type=int, help="of the training; people leave by the method of that name")
    arguments = parser.parse_args()
    name, rows, methods = arguments.dataset, list[Row](), arguments.methods
    if arguments.shards:
        name, methods = f"{arguments.dataset}, {SHARDS}", [SHARDS]
    for row in measured(arguments.dataset, methods, arguments.shards or 1):
        sys.stderr.write(f"{row}\n")
        rows.append({name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()})
        parts = [*DATASETS, *(f"{dataset}, {SHARDS}" for dataset in DATASETS)]
        write_results("unlearn_service", rows, SEED, {**earlier("unlearn_service", parts), name: rows})


if __name__ == "__main__":
    main()
