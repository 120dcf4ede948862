"""What a removal costs on PostgreSQL: whole tables rewritten, as up to revision 0004, and partitions, as since.

A server of its own is started, with its defaults: it waits for the disk. Rows are made by the server itself. During a
rewrite, a reader asks for the history of one person after the other on a connection of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from time import perf_counter

import numpy as np
import orjson
from sqlalchemy import text

from benchmarks.report import Row, write_results
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.layers.records import Erasure, ForgetRecord
from rag_rec.store import SqlStore, open_store
from rag_rec.store.database import Database
from rag_rec.store.migration import upgrade
from rag_rec.store.records import LedgerEntry, LedgerTip
from tests.rag_rec.store.server import missing_binaries, started_server

SEED = 0
ROWS_OF_ONE = 18
REPETITIONS = 5
BATCH = 20
BEFORE = "0004"
_TABLES = ("interactions", "users", "lineage", "forget_requests")
_PSEUDONYMS = Pseudonyms(bytes(32))
_FILL = (
    "INSERT INTO items SELECT n, 'item-' || n, 'generated item ' || n, '{}', NULL FROM generate_series(0, 4999) AS n",
    "INSERT INTO events VALUES (0, 'rating')",
    "INSERT INTO users SELECT n, 'user-' || md5(CAST(n AS text)), '{\"age\": 30}' "
    "FROM generate_series(0, :people - 1) AS n",
    "INSERT INTO interactions SELECT n, (n * 31 + step * 7919) % 5000, 0, 1600000000000 + step, n * 18 + step, 4, NULL "
    "FROM generate_series(0, :people - 1) AS n, generate_series(0, 17) AS step",
    "UPDATE counters SET value = :people WHERE name = 'user'",
    "UPDATE counters SET value = 18 * :people WHERE name = 'interaction'",
)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, nargs="+", default=[20_000, 100_000])
    people = parser.parse_args().people
    reason = missing_binaries()
    if reason:
        sys.exit(f"{reason}: nothing was measured.")
    rows = [row for count in people for row in _measure(count)]
    path = write_results("postgres_forget", rows, SEED)
    sys.stdout.write(f"{path}\n{orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode()}\n")


def _measure(people: int) -> Iterator[Row]:
    with started_server(settings=()) as server:
        url = f"{server.url}postgres"
        with closing(Database(url)) as database:
            _fill(database, people)
            yield _whole_tables(database, people)
        begun = perf_counter()
        with closing(open_store(url, pseudonyms=_PSEUDONYMS)) as store:
            migrated = perf_counter() - begun
            alone = [_forget(store, [number]) for number in range(REPETITIONS)]
            yield _row("partitions, one person", people, alone) | {"migration_s": round(migrated, 1)}
            batch = [_forget(store, range(REPETITIONS, REPETITIONS + BATCH))]
            yield _row(f"partitions, a batch of {BATCH} people", people, batch)


def _fill(database: Database, people: int) -> None:
    with database.engine.begin() as connection:
        upgrade(connection, BEFORE)
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # no row is checked against another
        for statement in _FILL:
            connection.execute(text(statement), {"people": people} if ":people" in statement else {})
    with closing(database.fresh_connection()) as connection:
        connection.execute("VACUUM ANALYZE")


Seconds = tuple[float, float, float]
"""Of a rewrite, of the slowest read meanwhile, and of the median read."""


def _whole_tables(database: Database, people: int) -> Row:
    """What a scrub did up to the revision before."""

    def rewrite() -> None:
        with database.reader() as cursor:
            for table in _TABLES:
                cursor.execute(f"VACUUM (FULL, ANALYZE) {table}")

    return _row("whole tables, any number of people", people, [_timed(database, people, rewrite) for _ in range(3)])


def _forget(store: SqlStore, numbers: Sequence[int]) -> Seconds:
    """Accept the removal of some people, and time the scrub after it."""
    store.accept([_erasure(store, number) for number in numbers], _entries)
    return _timed(store._database, store.counts().users, store.scrub)


def _timed(database: Database, people: int, rewrite: Callable[[], None]) -> Seconds:
    with _reading(database, people) as reads:
        begun = perf_counter()
        rewrite()
        seconds = perf_counter() - begun
    return seconds, max(reads), float(np.median(reads))


@contextmanager
def _reading(database: Database, people: int) -> Iterator[list[float]]:
    """Ask for histories without a pause; the list has the seconds of each when the context has ended."""
    ended, seconds = threading.Event(), [0.0]
    chosen = np.random.default_rng(SEED)

    def read() -> None:
        with closing(database.fresh_connection()) as connection:
            while not ended.is_set():
                number, begun = int(chosen.integers(people // 2, people)), perf_counter()
                connection.execute("SELECT * FROM interactions WHERE user_number = %s", [number]).fetchall()
                seconds.append(perf_counter() - begun)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield seconds
    finally:
        ended.set()
        thread.join()


def _row(name: str, people: int, timed: Sequence[Seconds]) -> dict[str, object]:
    seconds, slowest, median = (np.array(column) for column in zip(*timed, strict=True))
    return {
        "name": name,
        "people": people,
        "interactions": people * ROWS_OF_ONE,
        "scrub_ms": round(1000 * float(np.median(seconds)), 1),
        "scrub_ms_of_each": [round(1000 * float(value), 1) for value in seconds],
        "slowest_read_meanwhile_ms": round(1000 * float(slowest.max()), 1),
        "median_read_meanwhile_ms": round(1000 * float(np.median(median)), 2),
    }


def _erasure(store: SqlStore, number: int) -> Erasure:
    person = store.user_by_number(number)
    assert person is not None  # noqa: S101 - it was made above
    subject = _PSEUDONYMS.user(person.id)
    return Erasure(f"r{number}", None, subject, f"plan {number}", number, None, [], 1000, 2000)


def _entries(tip: LedgerTip, records: Sequence[ForgetRecord]) -> list[LedgerEntry]:
    entries: list[LedgerEntry] = []
    for record in records:
        digest = hashlib.sha256(f"{tip.digest}{record.request_id}".encode()).hexdigest()
        entries.append(LedgerEntry(tip.sequence + 1, "erasure", record.request_id, tip.digest, digest, ""))
        tip = LedgerTip(entries[-1].sequence, digest)
    return entries


if __name__ == "__main__":
    main()
