"""Opening a store: what is created, upgraded, or refused without being touched."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, insert, inspect, text

from rag_rec.domain import Interaction, Item
from rag_rec.errors import IncompatibleStore, InvalidInput
from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store import SqlStore, migration, migrations, open_store
from rag_rec.store.checkpoints import Checkpoint
from rag_rec.store.database import Database
from rag_rec.store.migration import HEAD, upgrade
from rag_rec.store.partitions import partitions
from rag_rec.store.requests import _encode
from rag_rec.store.schema import forget_requests, metadata


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def test_the_content_is_there_when_a_store_is_opened_again(store_url: str) -> None:
    first = open_store(store_url)
    first.put_items([Item("i", "t")])
    first.append([Interaction("u", "i", 1)])
    first.close()
    again = open_store(store_url)
    assert again.epoch() == 2
    assert len(again.history(0)) == 1
    again.close()


@pytest.mark.parametrize("first", [None, "0001", "0002", "0003"])
def test_the_migrations_create_the_tables_of_the_schema(store_url: str, first: str | None) -> None:
    if first is not None:
        upgraded(store_url, first)
    open_store(store_url).close()
    engine = create_engine(store_url)
    found = inspect(engine)
    parts = set() if engine.dialect.name == "sqlite" else {"residues", *partitions()}
    assert set(found.get_table_names()) == {*metadata.tables, "alembic_version", *parts}
    for name, table in metadata.tables.items():
        indexed = {(index["name"], *index["column_names"]) for index in found.get_indexes(name) if not index["unique"]}
        numbers = {("ix_users_number", "number")} if parts and name == "users" else set()
        named = {(index.name, *(column.name for column in index.columns)) for index in table.indexes}
        assert indexed == named | numbers
        columns = {column["name"]: column for column in found.get_columns(name)}
        assert list(columns) == [column.name for column in table.columns]
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, (name, column.name)
        divided_by_id = bool(parts) and name == "users"
        key = ["id"] if divided_by_id else [column.name for column in table.primary_key]
        assert found.get_pk_constraint(name)["constrained_columns"] == key
        links = {(key["constrained_columns"][0], key["referred_table"]) for key in found.get_foreign_keys(name)}
        wanted = {(key.parent.name, key.column.table.name) for key in table.foreign_keys}
        assert links == {link for link in wanted if not parts or link[1] != "users"}
        unique = {tuple(constraint["column_names"]) for constraint in found.get_unique_constraints(name)}
        by_id = name in {"users", "items"} and not divided_by_id
        assert unique == ({("id",)} if by_id else {("name",)} if name == "events" else set())
    engine.dispose()


def upgraded(store_url: str, revision: str, fill: Callable[[Connection], object] = lambda _: None) -> None:
    """Make the store as an earlier version did, and fill it."""
    with closing(Database(store_url)) as database, database.engine.begin() as connection:
        upgrade(connection, revision)
        fill(connection)


def test_every_revision_is_known_and_one_follows_the_other() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(revisions)) == migration._REVISIONS
    assert revisions[0] == migration.HEAD
    assert migration.HEAD in migration.SAME_ROWS


@pytest.mark.parametrize("revision", sorted(migration.SAME_ROWS))
def test_rows_of_the_same_shape_have_the_same_columns(tmp_path: Path, revision: str) -> None:
    upgraded(url_of(tmp_path / "store.sqlite3"), revision)
    engine = create_engine(url_of(tmp_path / "store.sqlite3"))
    there = set(inspect(engine).get_table_names())
    assert there >= {"interactions", "forget_requests", "ledger"}
    for name in there & metadata.tables.keys():
        assert [column["name"] for column in inspect(engine).get_columns(name)] == metadata.tables[name].c.keys()
    engine.dispose()


def test_a_store_gets_its_id_once_and_keeps_it(store_url: str) -> None:
    upgraded(store_url, "0003")
    with closing(open_store(store_url)) as store:
        known = store.identity()
    with closing(open_store(store_url)) as again:
        assert again.identity() == known


def test_two_stores_have_two_ids(make_store: Callable[[], SqlStore]) -> None:
    with closing(make_store()) as one, closing(make_store()) as other:
        assert one.identity() != other.identity()


def test_requests_of_the_second_version_are_kept_and_found(store_url: str) -> None:
    times = {"accepted": 1000, "complete": 1200}
    record = ForgetRecord("r1", "b", "s", "p", "user", ForgetState.COMPLETE, None, 3, 5, 1000, 1200, times)
    upgraded(store_url, "0002", lambda connection: connection.execute(insert(forget_requests), [_encode(record)]))
    with closing(open_store(store_url)) as store:
        assert store.forget_records(subject="s") == store.forget_records(newest=1) == [record]


OLD_REQUESTS = """
INSERT INTO forget_requests VALUES
('old', 'user', 'complete', 3, 5, 1000, 1200, '{"interactions":2,"users":1}', '{"store":1.5}'),
('interrupted', 'user', 'accepted', 5, NULL, 1100, NULL, '{}', '{}')
"""


@pytest.mark.parametrize("removals", [0, 1])
def test_a_store_of_the_first_version_is_upgraded_with_what_it_knows(store_url: str, removals: int) -> None:
    def fill(connection: Connection) -> None:
        connection.exec_driver_sql(OLD_REQUESTS)
        changes = [(1, "item", 0), (2, "user", 0), (3, "user", 1), (4, "forget", 0), (5, "forget", 1), (6, "user", 2)]
        for epoch, kind, number in changes[: None if removals else 3]:
            connection.execute(text("INSERT INTO changes VALUES (:e, :k, :n)"), {"e": epoch, "k": kind, "n": number})
        connection.execute(text("INSERT INTO ingest_checkpoints VALUES ('file', 9, 5, 3, 1)"))

    upgraded(store_url, "0001", fill)
    store = open_store(store_url)
    kept = ForgetRecord(
        *("old", None, "", "", "user", ForgetState.COMPLETE, None, 3, 5, 1000, 1200),
        times={"accepted": 1000, "complete": 1200},
        removed={"users": 1, "interactions": 2},
        timings_ms={"store": 1.5},
    )
    assert store.forget_records() == [kept]
    assert store.forget_records(pending=True) == []
    assert store.erasure_epoch() == (5 if removals else 0)
    assert store.suppressed_events() == 0
    assert store.checkpoint("file") == Checkpoint("file", 9, 5, 3, 1, 0)
    store.close()


def test_a_store_of_a_newer_version_is_refused_and_left_alone(store_url: str) -> None:
    open_store(store_url).close()
    engine = create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(IncompatibleStore, match="newer version"):
        open_store(store_url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
    engine.dispose()
    open_store(store_url).close()


def test_somebody_elses_database_is_refused_and_left_alone(store_url: str) -> None:
    engine = create_engine(store_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (x INTEGER)"))
    with pytest.raises(IncompatibleStore, match="something else"):
        open_store(store_url)
    assert inspect(engine).get_table_names() == ["theirs"]
    engine.dispose()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    path.write_bytes(b"a letter to a friend" * 500)
    with pytest.raises(IncompatibleStore):
        open_store(url_of(path))
    assert path.read_bytes() == b"a letter to a friend" * 500


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    store = open_store(url_of(path))
    store.put_items([Item(f"i{n}", "t" * 200) for n in range(500)])
    store.close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(IncompatibleStore):
        open_store(url_of(path))


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:////tmp/none/x.db?timeout=9", "mysql://host/db", "not a url"]
)
def test_an_address_that_cannot_be_used_is_invalid(url: str) -> None:
    with pytest.raises(InvalidInput):
        open_store(url)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IncompatibleStore, match="cannot be created"):
        open_store(url_of(tmp_path / "file" / "store.sqlite3"))


def test_only_the_owner_can_read_the_files(tmp_path: Path) -> None:
    store = open_store(url_of(tmp_path / "store.sqlite3"))
    store.put_items([Item("i", "t")])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.keys() >= {"store.sqlite3", "store.sqlite3-wal"}
    assert set(modes.values()) == {0o600}
    store.close()


def test_several_may_create_a_store_at_the_same_time(store_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(store_url), range(4)))
    assert [store.epoch() for store in stores] == [0] * 4
    for store in stores:
        store.close()


def test_the_file_keeps_its_pragmas(sqlite_store: SqlStore, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "store.sqlite3")
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "auto_vacuum")}
    connection.close()
    assert found == {"journal_mode": "wal", "auto_vacuum": 2}
    assert sqlite_store.epoch() == 0
