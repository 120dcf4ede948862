"""How fast a file of interactions becomes rows of the store: parsing, validation and writing, by the command itself."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from benchmarks.report import Row, without_options, write_results

SEED = 0
ROWS, USERS, ITEMS = 1_000_000, 6_000, 4_000
REPETITIONS = 3
MOVIELENS_1M = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml-1m"


def main() -> None:
    """Measure and write the results."""
    without_options(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(_measurements(Path(folder)))
    path = write_results("ingest", rows, SEED)
    sys.stdout.write(f"{path}\n{orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()}\n")


def _measurements(folder: Path) -> Iterator[Row]:
    items, interactions = _generate(folder)
    generated: list[list[str]] = [
        ["ingest", str(items), "--format", "csv", "--kind", "items"],
        ["ingest", str(interactions), "--format", "csv"],
    ]
    yield _measure(f"csv, {ROWS} generated interactions", folder, generated)
    if MOVIELENS_1M.is_dir():
        command = ["ingest", str(MOVIELENS_1M), "--format", "movielens-1m"]
        yield _measure("movielens-1m, with items and users", folder, [command])


def _measure(name: str, folder: Path, commands: list[list[str]]) -> Row:
    """Run the commands into a new store several times; the last one is measured, the median is reported."""
    results, again = [], {}
    for repetition in range(REPETITIONS):
        home = folder / f"home-{name.split(',', maxsplit=1)[0]}-{repetition}"
        *preparations, measured = commands
        for command in preparations:
            _run(home, command)
        results.append(_run(home, measured))
        again = _run(home, measured)
    seconds = statistics.median(float(result["seconds"]) for result in results)
    rows = int(results[0]["accepted"])
    return {
        "name": name,
        "rows": rows,
        "rejected": results[0]["rejected"],
        "seconds": round(seconds, 3),
        "rows_per_s": round(rows / seconds),
        "seconds_of_each": [result["seconds"] for result in results],
        "seconds_when_repeated": again["seconds"],
        "accepted_when_repeated": again["accepted"],
    }


def _run(home: Path, arguments: list[str]) -> dict[str, float]:
    program = "from rag_rec.commands.app import main; main()"
    command = [sys.executable, "-c", program, *arguments, "--json"]
    environment = {"RAGREC_HOME": str(home), "PATH": ""}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    result: dict[str, float] = orjson.loads(done.stdout)
    return result


def _generate(folder: Path) -> tuple[Path, Path]:
    """Items and a million interactions in no order: popularity by Zipf's law, times over three years."""
    random = np.random.default_rng(SEED)
    items, interactions = folder / "items.csv", folder / "interactions.csv"
    numbers = np.arange(ITEMS)
    pl.DataFrame({"item_id": numbers, "text": [f"generated item {number}" for number in numbers]}).write_csv(items)
    popularity = 1 / np.arange(1, ITEMS + 1)
    table = {
        "user_id": random.integers(USERS, size=ROWS),
        "item_id": random.choice(ITEMS, size=ROWS, p=popularity / popularity.sum()),
        "event": np.full(ROWS, "rating"),
        "value": random.integers(1, 6, size=ROWS),
        "time": random.integers(1_600_000_000, 1_700_000_000, size=ROWS),
    }
    pl.DataFrame(table).write_csv(interactions)
    return items, interactions


if __name__ == "__main__":
    main()
