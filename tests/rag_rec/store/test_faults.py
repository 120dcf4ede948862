"""The store is lost, away or full: what becomes of reads and writes, and that they go on when it is back."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, make_url

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import DiskFull, RagRecError, StoreAway, StoreLost
from rag_rec.store import SqlStore, open_store
from rag_rec.store.records import Replica
from tests.rag_rec.store.conftest import new_database
from tests.rag_rec.store.erasing import chained, erasure_of
from tests.rag_rec.store.reference_privacy import PSEUDONYMS
from tests.rag_rec.store.server import Server, missing_binaries, started_server

ITEM = Item("i", "t")


def logged_by(capsys: pytest.CaptureFixture[str]) -> str:
    """What was logged: on stdout, or on stderr where a command of an earlier test has set the log up."""
    captured = capsys.readouterr()
    return captured.out + captured.err


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.sqlite3'}"


def opened(url: str) -> SqlStore:
    store = open_store(url, pseudonyms=PSEUDONYMS)
    store.put_items([ITEM])
    store.append([Interaction("u", "i", 1)])
    return store


def refused(store: SqlStore, kind: type[RagRecError]) -> None:
    """Reads and writes alike are refused, and say so without a path."""
    writing = (lambda: store.append([Interaction("u", "i", 2)]), lambda: store.put_items([Item("j", "t")]))
    calls: tuple[Callable[[], object], ...] = (store.check, store.epoch, store.identity, *writing)
    for call in calls:
        with pytest.raises(kind) as told:
            call()
        assert "/" not in str(told.value)
        assert told.value.status == 503


@pytest.mark.parametrize("loss", ["folder moved", "folder removed", "file removed", "file replaced", "folder replaced"])
def test_a_lost_file_is_noticed_and_nothing_takes_its_place(tmp_path: Path, loss: str) -> None:
    folder, other = tmp_path / "data", tmp_path / "other"
    with closing(opened(url_of(folder))) as store:
        opened(url_of(other)).close()
        known = store.identity()
        if loss.startswith("folder"):
            folder.rename(tmp_path / "away")
        else:
            for path in folder.iterdir():
                path.unlink()
        if loss == "folder removed":
            shutil.rmtree(tmp_path / "away")
        elif loss == "folder replaced":
            other.rename(folder)
        elif loss == "file replaced":
            (other / "store.sqlite3").rename(folder / "store.sqlite3")
        refused(store, StoreLost)
        with pytest.raises(StoreLost):
            store.accept([], chained)
        if "replaced" in loss:
            with closing(open_store(url_of(folder))) as there:
                assert there.identity() != known
                assert there.epoch() == 2
        else:
            assert not (folder / "store.sqlite3").exists()
            assert folder.exists() == (loss == "file removed")


def test_a_store_that_is_put_back_is_used_again(tmp_path: Path) -> None:
    with closing(opened(url_of(tmp_path / "data"))) as store:
        (tmp_path / "data").rename(tmp_path / "away")
        refused(store, StoreLost)
        (tmp_path / "away").rename(tmp_path / "data")
        store.check()
        assert store.append([Interaction("u", "i", 2)]).accepted == 1


def test_a_file_that_is_removed_while_it_is_written_to_acknowledges_nothing(tmp_path: Path) -> None:
    with closing(opened(url_of(tmp_path / "data"))) as store:
        writing = store._database.writer()
        with pytest.raises(StoreLost), writing as connection:
            connection.exec_driver_sql("UPDATE items SET text = 'new'")
            (tmp_path / "data").rename(tmp_path / "away")


def test_another_store_with_the_same_tables_is_refused(sql_store: SqlStore) -> None:
    """As after a database was dropped and made anew, or a file was copied over this one."""
    sql_store.put_items([ITEM])
    with sql_store._database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE identity SET value = 'another'")
    with pytest.raises(StoreLost):
        sql_store.check()
    with pytest.raises(StoreLost):
        sql_store.append([Interaction("u", "i", 2)])


def test_a_database_that_was_made_anew_is_refused(postgres_server: str) -> None:
    url = new_database(postgres_server)
    name = str(make_url(url).query["options"]).rpartition("=")[2]
    with closing(opened(url)) as store, closing(connect(postgres_server)) as connection:
        connection.execute(f'DROP SCHEMA "{name}" CASCADE')
        refused(store, StoreLost)
        connection.execute(f'CREATE SCHEMA "{name}"')
        refused(store, StoreLost)
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", [name]).fetchone() == (0,)
        opened(url).close()
        for call in (store.check, lambda: store.append([Interaction("u", "i", 2)])):
            with pytest.raises(StoreLost):
                call()


def connect(server: str) -> psycopg.Connection[tuple[object, ...]]:
    address = make_url(server)
    where = f"host={address.host} port={address.port} user={address.username} dbname=postgres"
    return psycopg.connect(where, autocommit=True)


@pytest.fixture
def server() -> Iterator[Server]:
    reason = missing_binaries()
    if reason:
        pytest.skip(reason)
    with started_server() as server:
        yield server


def test_a_server_that_stops_is_away_and_used_again_when_it_is_back(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    url = new_database(server.url)
    with closing(opened(url)) as store:
        store.accept([erasure_of(store, "u")], chained)
        server.stop()
        refused(store, StoreAway)
        with pytest.raises(StoreAway):
            store.scrub()
        with pytest.raises(StoreAway):
            open_store(url)
        logged = logged_by(capsys)
        assert f"127.0.0.1:{server.port}/postgres" in logged
        assert "refused" in logged
        server.start()
        store.check()
        assert store.append([Interaction("v", "i", 2)]).accepted == 1
        store.scrub()
        assert not store.scrub_pending()
        assert len(store.changes(0)) == 4


def test_connections_that_the_server_ended_are_replaced_unnoticed(server: Server) -> None:
    with closing(opened(new_database(server.url))) as store:
        for _ in range(3):
            with closing(connect(server.url)) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
            assert store.epoch() == 2
            assert store.append([Interaction("u", "i", 1)]).duplicates == 1


def test_a_file_that_may_not_grow_is_full_and_goes_on_when_it_may(tmp_path: Path) -> None:
    with closing(opened(url_of(tmp_path))) as store:
        limit = 80

        def restrict(connection: object, *_: object) -> None:
            connection.execute(f"PRAGMA max_page_count = {limit}")  # type: ignore[attr-defined]

        event.listen(store._database.engine, "checkout", restrict)
        full = [Item(f"i{n}", "x" * 9000) for n in range(100)]
        epoch = store.epoch()
        with pytest.raises(DiskFull) as told:
            store.put_items(full)
        assert (told.value.code, told.value.status) == ("disk_full", 503)
        assert store.epoch() == epoch
        limit = 100_000
        assert store.put_items(full) == 100


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of its own in memory, which is soon full."""
    with tempfile.TemporaryDirectory(prefix="rag-rec-small-disk-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", folder]
        if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
            pytest.skip("mounting a file system is not allowed here")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill_up(disk: Path) -> Path:
    """Leave no room on a disk; removing the file gives it back."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(b"x" * 4096)
        except OSError:
            return filler


def test_a_full_disk_is_said_to_be_full_and_used_again_when_there_is_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del tmp_path
    with small_disk("4m") as disk, closing(opened(url_of(disk))) as store:
        filler = fill_up(disk)
        with pytest.raises(DiskFull):
            store.put_items([Item(f"j{n}", "x" * 9000) for n in range(400)])
        assert str(disk) in logged_by(capsys)
        assert store.counts().items == 1  # what was there can be read
        filler.unlink()
        assert store.put_items([Item("j", "x" * 9000)]) == 1
        assert store.append([Interaction("u", "j", 2)]).accepted == 1


def test_a_full_disk_of_a_server_is_said_to_be_full(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk("64m") as disk:
        folder = disk / "tables"
        folder.mkdir(mode=0o700)
        shutil.chown(folder, "nobody")
        with closing(connect(server.url)) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        url = f"{new_database(server.url)}%20-cdefault_tablespace%3Dsmall"
        with closing(opened(url)) as store:
            filler = fill_up(disk)
            with pytest.raises(DiskFull):
                store.put_items([Item(f"j{n}", "".join(map(str, range(n, n + 2500)))) for n in range(2000)])
            assert "53100" in logged_by(capsys)
            filler.unlink()
            assert store.put_items([Item("j", "t")]) == 1
        server.stop()


def test_what_is_acknowledged_waits_for_the_disk_and_a_sign_of_life_does_not(sqlite_store: SqlStore) -> None:
    modes: list[int] = []
    event.listen(
        sqlite_store._database.engine,
        "commit",
        lambda connection: modes.append(connection.exec_driver_sql("PRAGMA synchronous").scalar()),
    )
    sqlite_store.put_items([ITEM])
    sqlite_store.append([Interaction("u", "i", 1)])
    sqlite_store.beat(Replica("r", "host", 1, 0, 1))
    sqlite_store.put_users([User("u", {"age": 3})])
    full, normal = 2, 1
    assert modes == [full, full, normal, full]
