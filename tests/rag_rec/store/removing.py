"""Takes people out of a store behind the product's back, without ledger, suppression or receipt."""

from __future__ import annotations

from collections.abc import Sequence

from rag_rec.store import SqlStore
from rag_rec.store.protocol import Store
from rag_rec.store.records import Counts
from rag_rec.store.removal import record_removal, remove_rows, remove_users
from tests.rag_rec.store.reference import ReferenceStore


def delete_user(store: Store, user_number: int) -> Counts:
    """Delete a user with every interaction; a number that does not exist changes nothing. Returns what went."""
    if isinstance(store, ReferenceStore):
        return store.delete_user(user_number)
    assert isinstance(store, SqlStore)
    with store._database.writer(durable=True) as connection:
        gone = remove_users(connection, [user_number])
        if user_number not in gone:
            return Counts(0, 0, 0)
        record_removal(connection, [user_number])
        return Counts(users=1, items=0, interactions=gone[user_number])


def delete_interactions(store: Store, user_number: int, numbers: Sequence[int]) -> int:
    """Delete some interactions of a user; numbers of anybody else's are left alone. Returns how many went."""
    if isinstance(store, ReferenceStore):
        return store.delete_interactions(user_number, numbers)
    assert isinstance(store, SqlStore)
    with store._database.writer(durable=True) as connection:
        gone = remove_rows(connection, user_number, numbers)
        if gone:
            record_removal(connection, [user_number])
        return gone
