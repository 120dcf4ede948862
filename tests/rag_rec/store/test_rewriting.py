"""On PostgreSQL, a removal rewrites the partitions that held the person, and leaves no byte of the person in a file."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, text

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Busy
from rag_rec.layers.records import ForgetState
from rag_rec.store import SqlStore, open_store, rewriting
from rag_rec.store.archive import ARCHIVED, clear, load, read_counters, snapshot, write_counters
from rag_rec.store.database import Database
from rag_rec.store.migration import upgrade
from rag_rec.store.partitions import PARTITIONS, partitions
from rag_rec.store.schema import counters
from tests.rag_rec.store.conftest import new_database
from tests.rag_rec.store.erasing import chained, erasure_of
from tests.rag_rec.store.reference_privacy import PSEUDONYMS

ITEMS = [Item(f"i{n}", f"title {n}") for n in range(8)]
_PEOPLE = ("users", "interactions", "lineage", "forget_requests")


@pytest.fixture
def url(postgres_server: str) -> str:
    return new_database(postgres_server)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(open_store(url, pseudonyms=PSEUDONYMS)) as store:
        store.put_items(ITEMS)
        yield store


@pytest.fixture
def canary() -> str:
    """A person of whom no other test left anything in the files of the server."""
    return f"canary-{secrets.token_hex(8)}"


def text_of(person: str) -> str:
    return f"what only {person[::-1]} wrote"


def connect(url: str) -> psycopg.Connection[Any]:
    address = make_url(url)
    return psycopg.connect(
        f"host={address.host} port={address.port} user={address.username} dbname=postgres",
        options=str(address.query["options"]),
        autocommit=True,
    )


def files_of(url: str) -> dict[str, int]:
    """The number of the file that each partition lies in; one that was rewritten has a new one."""
    with connect(url) as connection:
        found = connection.execute(
            "SELECT relname, pg_relation_filenode(oid) FROM pg_class WHERE relname = ANY(%s) "
            "AND relnamespace = current_schema()::regnamespace",
            [partitions()],
        )
        return dict(found.fetchall())


def table_files_hold(url: str, words: str) -> bool:
    """Whether any file of the cluster's tables, indexes, catalogues and statistics has these bytes: not its log."""
    with connect(url) as connection:
        connection.execute("CHECKPOINT")
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    folders = [Path(row[0]) / name for name in ("base", "global", "pg_stat", "pg_stat_tmp")]
    return any(words.encode() in path.read_bytes() for each in folders for path in each.rglob("*") if path.is_file())


def fill(store: SqlStore, person: str) -> None:
    """Rows of a person and of others, written again and again; some of them by transactions that were given up."""
    others = [f"other-{n}" for n in range(200)]
    store.append([Interaction(user, f"i{n % 8}", n) for n, user in enumerate([*others, *others])])
    long = "x" * 3000 + "".join(f"{person} {n * n}" for n in range(400))  # outside the row, in a table of its own
    store.append([Interaction(person, "i7", 9, "review", 1.0, text_of(person))])
    for turn in range(5):
        store.put_users([User(person, {"note": f"{person} {turn}"})])
        store.append([Interaction(person, f"i{turn}", turn, "review", 4.0, f"{long} {turn}")])
        with pytest.raises(RuntimeError), store._database.writer() as connection:
            connection.execute(text("UPDATE users SET attributes = attributes || ' '"))
            connection.execute(text("UPDATE interactions SET text = text || ' '"))
            raise RuntimeError
    store.put_lineage("x", {number: 1 for number, _ in store.histories()}, store.epoch())
    with store._database.reader() as cursor:
        cursor.execute("ANALYZE")


def test_no_byte_of_a_person_stays_in_the_files_of_any_table(canary: str, store: SqlStore, url: str) -> None:
    fill(store, canary)
    assert table_files_hold(url, canary)
    store.accept([erasure_of(store, canary)], chained)
    assert table_files_hold(url, canary)
    store.scrub()
    assert not store.scrub_pending()
    assert not table_files_hold(url, canary)
    assert store.counts().users == 200
    assert len(store.lineage("x")) == 200


def test_only_the_partitions_that_held_the_person_are_rewritten(canary: str, store: SqlStore, url: str) -> None:
    fill(store, canary)
    before = files_of(url)
    store.scrub()
    assert files_of(url) == before
    record = store.accept([erasure_of(store, canary)], chained)[0]
    store.scrub()
    after = files_of(url)
    rewritten = sorted(name for name, number in after.items() if number != before[name])
    assert [name.rpartition("_")[0] for name in rewritten] == ["forget_requests", "interactions", "lineage", "users"]
    numbers = {name: number for name, number in after.items() if name.startswith("forget_requests")}
    store.extend_ledger(lambda _: ([], [record]))  # the record is replaced: its old row goes with the next removal
    store.scrub()
    assert files_of(url) == after
    store.accept([erasure_of(store, "other-1", None, "r2")], chained)
    store.scrub()
    assert {name for name, number in numbers.items() if files_of(url)[name] != number}


def test_a_removal_of_some_interactions_rewrites_as_well(canary: str, store: SqlStore, url: str) -> None:
    fill(store, canary)
    assert table_files_hold(url, text_of(canary))
    found = store.user(canary)
    assert found is not None
    numbers = store.history(found[0])["interaction"].tolist()
    store.accept([erasure_of(store, canary, numbers)], chained)
    store.scrub()
    assert not table_files_hold(url, text_of(canary))
    assert store.user(canary) is not None


def test_marks_outlive_a_crash_between_deletion_and_rewrite(canary: str, url: str) -> None:
    with closing(open_store(url, pseudonyms=PSEUDONYMS)) as store:
        store.put_items(ITEMS)
        fill(store, canary)
        store.accept([erasure_of(store, canary)], chained)
        assert store.scrub_pending()
    with closing(open_store(url, pseudonyms=PSEUDONYMS)) as again:
        assert not again.scrub_pending()
    assert not table_files_hold(url, canary)


def test_a_removal_left_open_by_an_earlier_version_rewrites_all(canary: str, store: SqlStore, url: str) -> None:
    fill(store, canary)
    before = files_of(url)
    with store._database.writer() as connection:
        connection.execute(text("UPDATE counters SET value = 1 WHERE name = 'scrub'"))
        connection.execute(text("DELETE FROM residues"))
    store.scrub()
    assert not store.scrub_pending()
    after = files_of(url)
    assert all(after[name] != before[name] for name in partitions())


def test_a_mark_that_came_meanwhile_stays(canary: str, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, canary)
    rewrite = rewriting._rewrite
    taken: list[str] = []

    def forget_another(connection: Any, relation: str, until: float) -> None:
        rewrite(connection, relation, until)
        if not taken:
            taken.append(relation)
            store.accept([erasure_of(store, f"other-{n}", None, f"s{n}") for n in range(100)], chained)

    monkeypatch.setattr(rewriting, "_rewrite", forget_another)
    store.accept([erasure_of(store, canary)], chained)
    store.scrub()
    assert taken
    assert store.scrub_pending()
    store.scrub()
    assert not store.scrub_pending()


def test_who_still_sees_the_deleted_rows_keeps_the_removal_open(
    canary: str, store: SqlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rewrite takes along what an older transaction may still read. It must not count as done."""
    monkeypatch.setattr(rewriting, "PATIENCE_SECONDS", 0.0)
    fill(store, canary)
    with connect(url) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reader.execute("SELECT count(*) FROM items")
        store.accept([erasure_of(store, canary)], chained)
        with pytest.raises(Busy):
            store.scrub()
        assert store.scrub_pending()
        assert table_files_hold(url, canary)
    store.scrub()
    assert not store.scrub_pending()
    assert not table_files_hold(url, canary)


def partition_of(url: str, user_number: int) -> str:
    with connect(url) as connection:
        statement = "SELECT tableoid::regclass::text FROM interactions WHERE user_number = %s LIMIT 1"
        row = connection.execute(statement, [user_number]).fetchone()
    assert row is not None
    return str(row[0])


def test_readers_of_other_people_do_not_wait_for_a_rewrite(canary: str, store: SqlStore, url: str) -> None:
    """A reader keeps the partition of a person who goes; the rewrite waits for it, and nobody else for the rewrite."""
    fill(store, canary)
    found = store.user(canary)
    assert found is not None
    mine = partition_of(url, found[0])
    others = [number for number, _ in store.histories() if partition_of(url, number) != mine]
    for _ in range(12):  # so that the statement is a prepared one
        assert len(store.history(others[0]))
    erasure = erasure_of(store, canary)
    with connect(url) as reader:
        reader.execute("BEGIN")
        reader.execute(f"LOCK TABLE {mine} IN ACCESS SHARE MODE")
        store.accept([erasure], chained)
        scrubbing = threading.Thread(target=store.scrub)
        scrubbing.start()
        with connect(url) as looking:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
            while looking.execute(waiting, [mine]).fetchone() == (0,):
                assert scrubbing.is_alive()
        store._database._idle[0].execute("SET statement_timeout = 900")  # the lock would be waited for for longer
        for number in others[:50]:
            assert len(store.history(number)) == 2
        assert scrubbing.is_alive()
        reader.execute("ROLLBACK")
    scrubbing.join(60)
    assert not scrubbing.is_alive()
    assert not store.scrub_pending()


def test_existing_tables_are_divided_with_every_row(url: str) -> None:
    rows = {
        "users": ["(0, 'ann', '{\"a\": 1}')", "(7, 'ben', '{}')"],
        "interactions": ["(0, 0, 0, 5, 1, 4.5, 'own text')", "(7, 0, 0, 6, 2, NULL, NULL)"],
        "lineage": ["('x', 0, 3)", "('x', 7, 1)", "('y', 7, 1)"],
        "forget_requests": [
            "('r', NULL, 's', 'p', 'user', 'complete', NULL, 1, 2, 3, 4, '{}', '{}', '{}', 'a receipt')"
        ],
    }
    with closing(Database(url)) as database, database.engine.begin() as connection:
        upgrade(connection, "0004")
        connection.execute(text("INSERT INTO items VALUES (0, 'i0', 't', '{}', NULL)"))
        connection.execute(text("INSERT INTO events VALUES (0, 'review')"))
        for table, values in rows.items():
            connection.execute(text(f"INSERT INTO {table} VALUES {', '.join(values)}"))  # noqa: S608
        kept = {table: sorted(map(tuple, connection.execute(text(f"TABLE {table}")))) for table in rows}
    with closing(open_store(url, pseudonyms=PSEUDONYMS)) as store:
        with store._database.reader() as cursor:
            for table in _PEOPLE:
                cursor.execute(f"TABLE {table}")
                assert sorted(cursor.fetchall()) == kept[table]
                cursor.execute("SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [table])
                assert cursor.fetchone() == ("p",)
                cursor.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = %s::regclass", [table])
                assert cursor.fetchone() == (PARTITIONS[table],)
        assert store.interactions(0)[0].interaction == Interaction("ann", "i0", 5, "review", 4.5, "own text")
        assert store.forget_records()[0].state is ForgetState.COMPLETE
        assert store.adapters_of(7) == ["x", "y"]


def test_a_restore_leaves_nothing_of_what_it_replaced(canary: str, store: SqlStore, url: str) -> None:
    fill(store, canary)
    with closing(Database(url)) as database:
        with snapshot(database) as state:
            frames = {table: list(state.frames(table)) for table in ARCHIVED}
        store.append([Interaction("who-came-later", "i0", 1, "review", None, "a text of who-came-later")])
        assert table_files_hold(url, "who-came-later")
        with database.writer() as connection:
            values = read_counters(connection)
            clear(connection)
            for table in ARCHIVED:
                for frame in frames[table]:
                    if table is not counters:
                        load(connection, table, frame)
            write_counters(connection, values | {"scrub": 1})
    store.scrub()
    assert not table_files_hold(url, "who-came-later")
    assert store.counts().users == 201
