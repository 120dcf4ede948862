"""Which key the pseudonyms of a store were made with.

The key's id is written with the first suppression or legal hold and never changed. A process with another key, or with
none, could recognise neither the people who may not come back nor those who may not go; it may therefore write nobody's
data.
"""

from __future__ import annotations

from contextlib import closing

from sqlalchemy import Connection, Table, exists, insert, inspect, select

from rag_rec.errors import WrongKey
from rag_rec.identity.pseudonyms import Pseudonyms
from rag_rec.store.connecting import file_of
from rag_rec.store.database import Database
from rag_rec.store.schema import holds, ledger, seals

_NAME = "pseudonyms"
_key_id = select(seals.c.key_id).where(seals.c.name == _NAME)


def seal(connection: Connection, pseudonyms: Pseudonyms | None) -> None:
    """Write the key's id down, unless it is there. Raises ``WrongKey`` without a key, or if another was used before."""
    if pseudonyms is None:
        raise _no_key()
    if recognising(connection, pseudonyms) is None:
        connection.execute(insert(seals), {"name": _NAME, "key_id": pseudonyms.key_id})


def recognising(connection: Connection, pseudonyms: Pseudonyms | None) -> Pseudonyms | None:
    """The key by which people are recognised who were suppressed or held, None as long as nobody was.

    Raises:
        WrongKey: a person was suppressed or held, and this process has no key, or another one.
    """
    used = connection.execute(_key_id).scalar()
    if used is None:
        return None
    if pseudonyms is None:
        raise _no_key()
    _check(used, pseudonyms)
    return pseudonyms


def check_seal(database: Database, pseudonyms: Pseudonyms) -> None:
    """Raise ``WrongKey`` if the store was written with another key."""
    for (used,) in database.rows(_key_id):
        _check(used, pseudonyms)


def needs_keys(url: str) -> bool:
    """Whether there is a store at this URL in which something was written down under keys. Makes and changes nothing.

    Raises:
        IncompatibleStore: the database is damaged or something else.
        InvalidInput: the URL cannot be used.
    """
    path = file_of(url)
    if path is not None and not path.is_file():
        return False
    with closing(Database(url)) as database, database.errors(), database.engine.connect() as connection:
        there = set(inspect(connection).get_table_names())
        return any(table.name in there and _holds_rows(connection, table) for table in (seals, ledger, holds))


def _holds_rows(connection: Connection, table: Table) -> bool:
    return bool(connection.execute(select(exists(select(table)))).scalar())


def _check(used: str, pseudonyms: Pseudonyms) -> None:
    if used != pseudonyms.key_id:
        raise WrongKey(
            "The pseudonym key is not the one that this store was written with, so that people who were forgotten or "
            "are held would not be recognised: give the right one in RAGREC_PSEUDONYM_KEY or in "
            "HOME/keys/pseudonym.key."
        )


def _no_key() -> WrongKey:
    return WrongKey(
        "People who were forgotten or are held cannot be recognised without the pseudonym key: give it in "
        "RAGREC_PSEUDONYM_KEY or in HOME/keys/pseudonym.key."
    )
