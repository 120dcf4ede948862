from __future__ import annotations

from rag_rec.domain import Interaction, Item, User
from rag_rec.store import SqlStore, archive
from rag_rec.store.archive import ARCHIVED, clear, load, opened, read_counters, snapshot, write_counters
from rag_rec.store.schema import counters, interactions, items, metadata, users


def fill(store: SqlStore) -> None:
    store.put_items(
        [Item("a", "first\ttext\nwith \\N and \\ in it", {"year": 1990}), Item("b", "", {"title": "B"}, "someone")]
    )
    store.put_users([User("u", {"age": 5.5}), User("ü😀", {"tags": ("x", "y")})])
    store.append([Interaction("u", "a", 1, "rating", 4.5), Interaction("ü😀", "b", 2**41, "like", None, "own text")])


def test_every_table_is_kept_or_left_out_on_purpose() -> None:
    assert {*ARCHIVED, *archive._DROPPED} == set(metadata.tables.values())


def test_rows_come_back_as_they_were(sql_store: SqlStore, store_url: str) -> None:
    fill(sql_store)
    with opened(store_url) as database:
        with snapshot(database) as state:
            frames = {table: list(state.frames(table)) for table in ARCHIVED}
            assert [sum(map(len, frames[table])) for table in (items, users, interactions)] == [2, 2, 2]
        with database.writer() as connection:
            values = read_counters(connection)
            clear(connection)
            assert read_counters(connection) == {}
            for table in ARCHIVED:
                for frame in frames[table]:
                    if table is not counters:
                        load(connection, table, frame)
            write_counters(connection, values)
        with snapshot(database) as state:
            for table in ARCHIVED:
                again = list(state.frames(table))
                assert [frame.rows() for frame in again] == [frame.rows() for frame in frames[table]], table.name
    assert [item.id for item in sql_store.items()] == ["a", "b"]
    assert sql_store.changes(0) == []


def test_a_snapshot_stays_as_it_was_while_others_write(sql_store: SqlStore, store_url: str) -> None:
    fill(sql_store)
    with opened(store_url) as database, snapshot(database) as state:
        assert [len(frame) for frame in state.frames(users)] == [2]
        sql_store.append([Interaction("late", "a", 1, "rating", 4.5)])
        assert [len(frame) for frame in state.frames(users)] == [2]
        assert [len(frame) for frame in state.frames(interactions)] == [2]
    assert sql_store.counts().interactions == 3
