"""What is left of forgotten people in the memory of a running service, and of its process of removals. Linux only.

In each round a service starts on a fresh copy of ML-100K. People with ids and texts that occur nowhere else are stored,
get recommendations, are exported and forgotten, all over HTTP; then others get recommendations. When the service has
had time to refresh, the memory of its processes is searched for the ids and the texts.

The set-ups take turns: as installed, and with ``RAGREC_OVERWRITE_FREED``.
"""

from __future__ import annotations

import argparse
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from benchmarks.home import ENVIRONMENT, KEY, copied_home, user_ids
from benchmarks.methods.process_memory import copies, family
from benchmarks.report import Row, write_results
from demo.service import Api, Commands, RunningService
from rag_rec.domain import Strategy

SEED: Final = 0
DATASET: Final = "ml-100k"
SETUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "as installed": {},
    "RAGREC_OVERWRITE_FREED": {"RAGREC_OVERWRITE_FREED": "true"},
}
OTHERS: Final = 50
SETTLE_SECONDS: Final = 5.0
"""A refresh takes place every second, and frees what is left."""


def main() -> None:
    """Measure and write ``benchmarks/results/freed_memory.json``."""
    arguments = _arguments()
    found: dict[str, list[Row]] = {name: [] for name in SETUPS}
    for _ in range(arguments.rounds):
        for name, settings in SETUPS.items():
            found[name].append(_round(settings, arguments.people))
    rows = [_summary(name, rounds, arguments.people) for name, rounds in found.items()]
    print(write_results("freed_memory", rows, SEED))  # noqa: T201 - the command's result
    print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())  # noqa: T201


def _round(settings: Mapping[str, str], count: int) -> Row:
    """Copies of ids and of texts: before the removals, and after."""
    people = {f"person-{secrets.token_hex(8)}": secrets.token_hex(12) for _ in range(count)}
    with copied_home(DATASET) as home, tempfile.TemporaryDirectory(prefix="rag-rec-") as folder:
        commands = Commands(home, {**ENVIRONMENT, **settings})
        with RunningService(commands, Path(folder) / "service.log") as service:
            api = Api(service.wait_until_ready(), KEY)
            items = _some_items(api)
            for user, text in people.items():
                _live(api, user, text, items)
            before = _counted(service.pid, people)
            for user in people:
                api.forget(user, api.plan(user)["plan"])
            for other in user_ids(DATASET)[:OTHERS]:
                api.recommend(other)
            time.sleep(SETTLE_SECONDS)
            after = _counted(service.pid, people)
            api.close()
    return {"before": before, "after": after}


def _some_items(api: Api) -> list[str]:
    return [each["item_id"] for each in api.recommend("a-stranger")["items"]][:3]


def _live(api: Api, user: str, text: str, items: Sequence[str]) -> None:
    for item in items:
        api.add(user, {"item_id": item, "event": "like", "text": f"I said {text} of it."})
    for strategy in Strategy:
        api.recommend(user, strategy)
    api.export(user)


def _counted(process: int, people: Mapping[str, str]) -> dict[str, int]:
    """Copies of ids and of texts in a process and those that it started."""
    totals = {"ids": 0, "texts": 0}
    for member in family(process):
        found = copies(member, [*people.keys(), *people.values()])
        totals["ids"] += sum(found[user] for user in people)
        totals["texts"] += sum(found[text] for text in people.values())
    return totals


def _summary(name: str, rounds: Sequence[Row], people: int) -> Row:
    return {
        "name": name,
        "people": people,
        "rounds": len(rounds),
        **{
            f"{kind}_{when}": [each[when][kind] for each in rounds]
            for when in ("before", "after")
            for kind in ("ids", "texts")
        },
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="Services of each set-up.")
    parser.add_argument("--people", type=int, default=20, help="People forgotten in each service.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
