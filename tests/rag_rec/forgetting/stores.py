"""Systems for the tests of backup and restore: a store on either database with a few people, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from rag_rec.copies.backup import BackupManifest, write_backup
from rag_rec.domain import Interaction
from rag_rec.engine.system import open_system
from rag_rec.engine.tending import open_saga
from rag_rec.forgetting.rights.identity import Identities
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.home.opening import store_of
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from rag_rec.store.archive import ARCHIVED, opened, snapshot
from tests.homes import ITEMS

Rows = dict[str, pl.DataFrame]

OTHERS = {f"user-{u}" for u in range(5)}
LATER = Interaction("later", ITEMS[3].id, 7, "like", text="came after the backup")


@contextmanager
def open_store_of(settings: Settings) -> Iterator[SqlStore]:
    """The system's store, closed at the end."""
    store = store_of(settings)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def identities_of(settings: Settings) -> Iterator[Identities]:
    """Consents and holds of a system that is not running."""
    with open_store_of(settings) as store:
        yield Identities(open_system(settings, store, open_pseudonyms(settings)))


def back_up(settings: Settings, target: Path) -> BackupManifest:
    """Back up a system as the command does."""
    with opened(settings.database_url) as database:
        return write_backup(target, database, open_pseudonyms(settings).key_id, open_signer(settings))


def rows_of(settings: Settings, *but: str) -> Rows:
    """Every row that a backup keeps, by table."""
    with opened(settings.database_url) as database, snapshot(database) as state:
        return {
            table.name: pl.concat([pl.DataFrame(), *state.frames(table)], how="diagonal")
            for table in ARCHIVED
            if table.name not in but
        }


def differing(rows: Rows, others: Rows) -> list[str]:
    """The tables that differ."""
    return [name for name in rows if not rows[name].equals(others[name])]


def people_in(settings: Settings) -> set[str]:
    """Ids of all users."""
    return set(rows_of(settings)["users"].get_column("id")) if rows_of(settings)["users"].width else set()


def interactions_of(settings: Settings, user_id: str) -> list[Interaction]:
    """What the store holds of a user."""
    with open_store_of(settings) as store:
        found = store.user(user_id)
        return [] if found is None else [row.interaction for row in store.interactions(found[0])]


def append(settings: Settings, *rows: Interaction) -> None:
    with open_store_of(settings) as store:
        store.append(rows)


def requests(settings: Settings) -> list[str]:
    with open_store_of(settings) as store:
        return [record.request_id for record in store.forget_records()]


def resume(settings: Settings) -> int:
    with open_store_of(settings) as store:
        return open_saga(settings, store).resume()


def under_another_pseudonym_key(settings: Settings) -> Settings:
    return Settings.model_validate({**settings.model_dump(), "pseudonym_key": "B" * 43 + "="})


def counters_of(settings: Settings) -> dict[str, int]:
    return dict(rows_of(settings)["counters"].iter_rows())


class Crash(Exception):
    pass


def crash(*_: object) -> None:
    raise Crash
