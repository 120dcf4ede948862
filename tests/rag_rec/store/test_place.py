from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from rag_rec.domain import User
from rag_rec.errors import IncompatibleStore, InvalidInput
from rag_rec.store import open_store
from rag_rec.store.archive import load, opened, snapshot
from rag_rec.store.place import place_for
from rag_rec.store.schema import users
from rag_rec.store.scrubbing import scrub


def make(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    store.put_users([User(f"secret-person-{n}", {"text": "x" * 500}) for n in range(100)])
    store.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"secret-person-1 " * 1000)


def torn_page(path: Path) -> None:
    make(path)
    with path.open("r+b") as stream:
        stream.seek(8 * 4096)
        stream.write(b"\xff" * 4096 * 4)


def missing(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(b"secret-person-2")


def put_newcomer(url: str, fail: bool = False) -> None:
    with place_for(url) as database:
        with (
            database.writer(durable=True) as connection,
            opened(url_of_newcomer(url)) as other,
            snapshot(other) as state,
        ):
            for frame in state.frames(users):
                load(connection, users, frame)
        if fail:
            raise KeyboardInterrupt
        scrub(database)


def url_of_newcomer(url: str) -> str:
    path = Path(url.removeprefix("sqlite:///")).with_name("newcomer.sqlite3")
    store = open_store(f"sqlite:///{path}")
    store.put_users([User("newcomer")])
    store.close()
    return f"sqlite:///{path}"


def left(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("spoil", [garbage, torn_page, missing])
def test_a_missing_or_damaged_file_is_replaced(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "store.sqlite3"
    spoil(path)
    put_newcomer(f"sqlite:///{path}")
    store = open_store(f"sqlite:///{path}")
    assert store.user("newcomer") is not None
    store.close()
    assert b"secret-person" not in left(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["newcomer.sqlite3", "store.sqlite3"]


@pytest.mark.parametrize("spoil", [garbage, missing])
def test_after_an_error_everything_is_as_before(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "store.sqlite3"
    spoil(path)
    before = {each: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        put_newcomer(f"sqlite:///{path}", fail=True)
    (tmp_path / "newcomer.sqlite3").unlink()
    assert {each: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_what_an_earlier_attempt_left_is_destroyed_first(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    make(tmp_path / "store.sqlite3.restoring")
    put_newcomer(f"sqlite:///{path}")
    store = open_store(f"sqlite:///{path}")
    assert store.counts().users == 1
    store.close()


def test_a_sound_store_is_used_itself(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite3"
    make(path)
    with place_for(f"sqlite:///{path}") as database:
        assert database.path == path


def test_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE letters (text)")
        connection.commit()
    with pytest.raises(IncompatibleStore, match="something else"), place_for(f"sqlite:///{path}"):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("letters",)]
    with pytest.raises(IncompatibleStore), place_for(f"sqlite:///{tmp_path}"):
        pass


@pytest.mark.parametrize("url", ["no url", "sqlite://", "mysql://host/base"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput), place_for(url):
        pass
