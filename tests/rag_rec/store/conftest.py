"""Stores to test: the reference in memory, SQLite, and PostgreSQL where its binaries are installed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from rag_rec.domain import Interaction, Item
from rag_rec.store import SqlStore, open_store
from rag_rec.store.protocol import Store
from tests.rag_rec.store.reference import ReferenceStore
from tests.rag_rec.store.reference_privacy import PSEUDONYMS
from tests.rag_rec.store.server import missing_binaries, running_server

ITEMS = [Item(f"i{n}", f"title {n}") for n in range(5)]
_names = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    reason = missing_binaries()
    if reason:
        pytest.skip(reason)
    with running_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a new, empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite3'}"
    return new_database(request.getfixturevalue("postgres_server"))


@pytest.fixture
def sql_store(store_url: str) -> Iterator[SqlStore]:
    store = open_store(store_url, pseudonyms=PSEUDONYMS)
    yield store
    store.close()


@pytest.fixture(params=["reference", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store
    if request.param == "reference":
        made = ReferenceStore()
    elif request.param == "sqlite":
        made = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}", pseudonyms=PSEUDONYMS)
    else:
        made = open_store(new_database(request.getfixturevalue("postgres_server")), pseudonyms=PSEUDONYMS)
    yield made
    made.close()


@pytest.fixture
def filled(store: Store) -> Store:
    """Three users with five interactions each, at times 0 to 4; the epoch is 8."""
    store.put_items(ITEMS)
    store.append([Interaction(user, f"i{n}", n) for user in "abc" for n in range(5)])
    return store


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite3'}", pseudonyms=PSEUDONYMS)
    yield store
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def make_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], SqlStore]:
    """Makes as many empty stores as are wanted."""
    if request.param == "sqlite":
        return lambda: open_store(
            f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.sqlite3'}", pseudonyms=PSEUDONYMS
        )
    server = request.getfixturevalue("postgres_server")
    return lambda: open_store(new_database(server), pseudonyms=PSEUDONYMS)


def new_database(server: str) -> str:
    """A new schema: to a store, it is an empty database of its own, and it costs milliseconds."""
    name = f"store_{next(_names)}"
    address = make_url(server)
    dsn = f"host={address.host} port={address.port} user={address.username} dbname=postgres"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"')
    return f"{server}postgres?options=-csearch_path%3D{name}"
