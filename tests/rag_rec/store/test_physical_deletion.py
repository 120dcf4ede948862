"""After a scrub, no byte of what was deleted lies in any file of the database."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import Busy
from rag_rec.store import SqlStore, connecting, open_store
from rag_rec.store.records import Selection
from tests.rag_rec.store.erasing import chained, erasure_of
from tests.rag_rec.store.removing import delete_interactions, delete_user

ITEMS = [Item(f"i{n}", f"title {n}") for n in range(200)]


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def names_in(folder: Path, names: list[str]) -> list[str]:
    content = bytes_in(folder)
    return [name for name in names if name.encode() in content]


def fill(store: SqlStore, seed: int) -> list[str]:
    """Users in random order, written to again and again, so that trees split and rows move."""
    draw = random.Random(seed)  # noqa: S311
    names = [f"canary-{draw.randrange(10**9):09d}-u" for _ in range(400)]
    store.put_items(ITEMS)
    for _ in range(12):
        rows = [
            Interaction(
                user,
                f"i{draw.randrange(200)}",
                draw.randrange(10**9),
                "review",
                3.0,
                f"text of {user} " + "x" * draw.randrange(200),
            )
            for user in draw.choices(names, k=200)
        ]
        store.append(rows)
        store.put_users([User(user, {"note": user + "y" * draw.randrange(300)}) for user in draw.choices(names, k=60)])
    return [name for name in names if store.user(name)]


@pytest.mark.parametrize("seed", range(3))
def test_no_byte_of_a_deleted_user_stays(sqlite_store: SqlStore, tmp_path: Path, seed: int) -> None:
    names = fill(sqlite_store, seed)
    assert names_in(tmp_path, names) == names
    gone = names[::3]
    for name in gone:
        found = sqlite_store.user(name)
        assert found is not None
        delete_user(sqlite_store, found[0])
        sqlite_store.scrub()
        assert names_in(tmp_path, [name]) == []
    assert names_in(tmp_path, gone) == []
    kept = [name for name in names if name not in set(gone)]
    assert names_in(tmp_path, kept) == kept
    check_integrity(tmp_path)


def test_no_byte_of_a_deleted_text_stays(sqlite_store: SqlStore, tmp_path: Path) -> None:
    sqlite_store.put_items(ITEMS)
    texts = [f"secret-{n:03d}-" + "z" * (40 * n) for n in range(120)]
    sqlite_store.append([Interaction("u", f"i{n}", n, "review", None, text) for n, text in enumerate(texts)])
    numbers = sqlite_store.history(0)["interaction"].tolist()
    assert delete_interactions(sqlite_store, 0, numbers[::2]) == 60
    sqlite_store.scrub()
    content = bytes_in(tmp_path)
    found = [f"secret-{n:03d}-".encode() in content for n in range(120)]
    assert found == [n % 2 == 1 for n in range(120)]
    check_integrity(tmp_path)


def test_no_byte_of_an_accepted_removal_stays(sqlite_store: SqlStore, tmp_path: Path) -> None:
    names = fill(sqlite_store, 5)
    gone = names[::3]
    sqlite_store.put_lineage("x", {number: 1 for number, _ in sqlite_store.histories()}, sqlite_store.epoch())
    erasures = [erasure_of(sqlite_store, name, None, f"r{at}") for at, name in enumerate(gone)]
    text = names[1]
    erasures.append(erasure_of(sqlite_store, text, sqlite_store.select(some(sqlite_store, text), Selection()), "some"))
    sqlite_store.accept(erasures, chained)
    sqlite_store.scrub()
    assert names_in(tmp_path, gone) == names_in(tmp_path, [f"text of {text}"]) == []
    kept = [name for name in names if name not in set(gone)]
    assert names_in(tmp_path, kept) == kept
    check_integrity(tmp_path)


def some(store: SqlStore, user_id: str) -> int:
    found = store.user(user_id)
    assert found is not None
    return found[0]


def test_without_a_scrub_the_bytes_are_still_in_the_log(sqlite_store: SqlStore, tmp_path: Path) -> None:
    """The search finds what is there, so that finding nothing means something."""
    sqlite_store.put_items(ITEMS)
    sqlite_store.append([Interaction("canary-user", "i0", 1)])
    delete_user(sqlite_store, 0)
    assert names_in(tmp_path, ["canary-user"]) == ["canary-user"]
    sqlite_store.scrub()
    assert names_in(tmp_path, ["canary-user"]) == []


def test_other_connections_do_not_bring_the_bytes_back(sqlite_store: SqlStore, tmp_path: Path) -> None:
    """They hold pages from before the scrub in their caches, and write to some of them afterwards."""
    other = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    names = fill(sqlite_store, 7)
    for name in names[:150]:
        assert len(list(other.histories())) > 0
        found = other.user(name)
        assert found is not None
        delete_user(sqlite_store, found[0])
        sqlite_store.scrub()
        other.put_users([User(names[-1], {"n": found[0]})])
        other.append([Interaction(names[-2], "i0", found[0])])
    other.scrub()
    other.close()
    assert names_in(tmp_path, names[:150]) == []
    check_integrity(tmp_path)


def test_opening_finishes_a_scrub_that_a_crash_prevented(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}")
    names = fill(store, 11)
    for name in names[:100]:
        found = store.user(name)
        assert found is not None
        delete_user(store, found[0])
    store.close()
    open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}").close()
    assert names_in(tmp_path, names[:100]) == []


def test_a_reader_of_an_old_snapshot_makes_the_scrub_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.sqlite3"
    impatient = tuple("PRAGMA busy_timeout = 1" if "busy" in pragma else pragma for pragma in connecting.SQLITE_PRAGMAS)
    monkeypatch.setattr(connecting, "SQLITE_PRAGMAS", impatient)
    store = open_store(f"sqlite:///{path}")
    store.put_items(ITEMS)
    store.append([Interaction("canary-user", "i0", 1)])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM users").fetchone() == (1,)
    delete_user(store, 0)
    with pytest.raises(Busy):
        store.scrub()
    assert reader.execute("SELECT count(*) FROM users").fetchone() == (1,)
    reader.close()
    store.scrub()
    assert names_in(tmp_path, ["canary-user"]) == []
    store.close()


FREE = "PRAGMA freelist_count"
TABLES = "SELECT count(*) FROM sqlite_master WHERE rootpage > 0"


def test_a_deletion_returns_its_pages(sqlite_store: SqlStore, tmp_path: Path) -> None:
    sqlite_store.put_items(ITEMS)
    rows = [Interaction("u", f"i{n}", n, "review", None, "x" * 10_000) for n in range(200)]
    sqlite_store.append([*rows, Interaction("v", "i0", 1)])
    delete_user(sqlite_store, 0)
    sqlite_store.scrub()
    path = tmp_path / "store.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        free, tables = (connection.execute(query).fetchone()[0] for query in (FREE, TABLES))
    assert free == 0
    assert path.stat().st_size < 4096 * (tables + 10)  # a page for each table and index, and little beside them


def check_integrity(folder: Path) -> None:
    connection = sqlite3.connect(folder / "store.sqlite3")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()
