"""What it costs that an acknowledged event survives a power loss: SQLite waits for the disk at every commit, or not.

Two stores on one disk take turns, so that both meet the same load: ``synchronous=FULL``, as the product has it, and
``NORMAL``, with which a power loss may take the last events that were acknowledged.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import perf_counter

import numpy as np
import orjson
import polars as pl

from benchmarks.report import Row, write_results
from rag_rec.domain import Interaction, Item
from rag_rec.store import SqlStore, connecting, open_store
from rag_rec.store.appending import SCHEMA

SEED = 0
EVENTS, BATCHES, BATCH = 1_000, 10, 20_000
PEOPLE, ITEMS = 2_000, 1_000
MODES = ("FULL", "NORMAL")
MODES_OF_SQLITE = {"FULL": 2, "NORMAL": 1}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=None, help="on the disk to measure; default: for temporary files"
    )
    with tempfile.TemporaryDirectory(dir=parser.parse_args().folder) as folder:
        rows = list(_measurements(Path(folder)))
    path = write_results("durability", rows, SEED)
    sys.stdout.write(f"{path}\n{orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()}\n")


def _measurements(folder: Path) -> Iterator[Row]:
    yield _sync(folder / "file")
    with ExitStack() as stack:
        stores = {mode: stack.enter_context(closing(_store(folder / mode, mode))) for mode in MODES}
        yield from _compared("one event", 1, _in_turn(stores, EVENTS, _append_one))
        yield from _compared(f"a batch of {BATCH} interactions", BATCH, _in_turn(stores, BATCHES, _append_batch))


def _store(folder: Path, mode: str) -> SqlStore:
    kept = connecting.SQLITE_PRAGMAS
    pragmas = tuple(f"PRAGMA synchronous = {mode}" if "synchronous" in pragma else pragma for pragma in kept)
    store = open_store(f"sqlite:///{folder}/store.sqlite3")
    connecting.SQLITE_PRAGMAS = pragmas  # for the connections of this store alone
    try:
        store._database.engine.dispose()
        store.put_items([Item(f"i{number}", f"generated item {number}") for number in range(ITEMS)])
        with store._database.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == MODES_OF_SQLITE[mode]  # noqa: S101
    finally:
        connecting.SQLITE_PRAGMAS = kept
    return store


def _sync(path: Path) -> Row:
    """What the disk itself takes to keep one page."""
    seconds = []
    with path.open("wb", buffering=0) as stream:
        for _ in range(EVENTS):
            begun = perf_counter()
            stream.write(bytes(4096))
            os.fdatasync(stream.fileno())
            seconds.append(perf_counter() - begun)
    return _described("4 KiB written and synchronised, without SQLite", seconds)


def _in_turn(
    stores: dict[str, SqlStore], count: int, append: Callable[[SqlStore, int], object]
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {mode: [] for mode in stores}
    for number in range(count):
        for mode, store in stores.items():
            begun = perf_counter()
            append(store, number)
            seconds[mode].append(perf_counter() - begun)
    return seconds


def _append_one(store: SqlStore, number: int) -> object:
    return store.append([Interaction(f"u{number % PEOPLE}", f"i{number % ITEMS}", number)])


def _append_batch(store: SqlStore, number: int) -> object:
    draw = np.random.default_rng((SEED, number))
    columns = {
        "user_id": [f"u{user}" for user in draw.integers(PEOPLE, size=BATCH)],
        "item_id": [f"i{item}" for item in draw.integers(ITEMS, size=BATCH)],
        "event": ["rating"] * BATCH,
        "value": [4.0] * BATCH,
        "text": [None] * BATCH,
        "time": draw.integers(10**6, 10**9, size=BATCH),
    }
    return store.append_frame(pl.DataFrame(columns, schema=SCHEMA))


def _compared(name: str, rows: int, seconds: dict[str, list[float]]) -> Iterator[Row]:
    rates = {mode: rows * len(taken) / sum(taken) for mode, taken in seconds.items()}
    for mode, taken in seconds.items():
        share = round(rates[mode] / rates["NORMAL"], 3)
        described = _described(f"{name}, synchronous={mode}", taken)
        yield {**described, "rows_per_s": round(rates[mode]), "share_of_normal": share}


def _described(name: str, seconds: list[float]) -> Row:
    median, late = (round(1000 * float(np.percentile(seconds, share)), 3) for share in (50, 99))
    return {"name": name, "calls": len(seconds), "p50_ms": median, "p99_ms": late}


if __name__ == "__main__":
    main()
