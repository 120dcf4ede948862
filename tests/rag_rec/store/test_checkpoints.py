"""A checkpoint is stored in the transaction of the rows that it counts."""

from __future__ import annotations

import polars as pl
import pytest

from rag_rec.domain import Interaction, Item, User
from rag_rec.errors import UnknownItem
from rag_rec.store import SqlStore
from rag_rec.store.appending import interaction_frame
from rag_rec.store.checkpoints import Checkpoint
from rag_rec.store.records import AppendResult
from tests.rag_rec.store.erasing import chained, erasure_of

START = Checkpoint("file", position=10, accepted=1, duplicates=2, rejected=3, suppressed=4)


def test_an_outcome_is_added_to_the_counts_and_nothing_else() -> None:
    assert START.after(AppendResult(10, 20, 30)) == Checkpoint("file", 10, 11, 22, 3, 34)


def rows(*users: str) -> pl.DataFrame:
    return interaction_frame([Interaction(user, "i", 1) for user in users])


def test_every_kind_of_row_is_counted_in_the_checkpoint_of_its_file(sql_store: SqlStore) -> None:
    assert sql_store.checkpoint("file") is None
    assert sql_store.put_items([Item("i", "t"), Item("i", "t")], START) == 1
    assert sql_store.checkpoint("file") == START.after(AppendResult(1, 1))
    sql_store.append_frame(rows("gone", "u"), START)
    sql_store.accept([erasure_of(sql_store, "gone")], chained)
    sql_store.append_frame(rows("gone", "u", "new"), START)
    assert sql_store.checkpoint("file") == START.after(AppendResult(1, 1, 1))
    sql_store.admit_users([User("gone"), User("u"), User("new", {"n": 1})], START)
    assert sql_store.checkpoint("file") == START.after(AppendResult(1, 1, 1))
    sql_store.clear_checkpoint("file")
    assert sql_store.checkpoint("file") is None


def test_a_batch_that_fails_leaves_the_checkpoint_before_it(sql_store: SqlStore) -> None:
    sql_store.put_items([Item("other", "t")], START)
    before = sql_store.checkpoint("file")
    with pytest.raises(UnknownItem):
        sql_store.append_frame(rows("u"), START)
    assert sql_store.checkpoint("file") == before
