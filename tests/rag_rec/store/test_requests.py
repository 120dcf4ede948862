"""Forget requests are looked up: the table may have as many as a store ever had."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rag_rec.layers.records import ForgetRecord, ForgetState
from rag_rec.store import SqlStore

LOOK_UPS: list[tuple[Callable[[SqlStore], object], set[str]]] = [
    (lambda store: store.forget_record("r1"), {"sqlite_autoindex_forget_requests_1"}),
    (lambda store: store.forget_records(subject="s1"), {"ix_forget_requests_subject"}),
    (lambda store: store.forget_records(plan="p1"), {"ix_forget_requests_plan"}),
    (lambda store: store.forget_records(batch_id="b1"), {"ix_forget_requests_batch_id"}),
    (lambda store: store.forget_records(pending=True), {"ix_forget_requests_state"}),
    (lambda store: store.forget_records(newest=20), {"ix_forget_requests_created"}),
    (
        lambda store: store.forget_records(plan="p1", pending=True),
        {"ix_forget_requests_plan", "ix_forget_requests_state"},
    ),
]


@pytest.mark.parametrize(("look_up", "indexes"), LOOK_UPS)
def test_an_index_is_used(sqlite_store: SqlStore, look_up: Callable[[SqlStore], object], indexes: set[str]) -> None:
    steps = plan_of(sqlite_store, look_up)
    used = [index for index in indexes if f"forget_requests USING INDEX {index}" in steps[0]]
    assert len(used) == 1, steps


def test_the_newest_are_read_in_order_and_no_others(sqlite_store: SqlStore) -> None:
    steps = plan_of(sqlite_store, lambda store: store.forget_records(newest=20))
    assert steps == ["SCAN forget_requests USING INDEX ix_forget_requests_created"]


def plan_of(store: SqlStore, look_up: Callable[[SqlStore], object]) -> list[str]:
    """How SQLite answers the one statement of a method, in a store with some requests."""
    store.extend_ledger(lambda _: ([], [record(n) for n in range(100)]))
    asked: list[str] = []
    with store._database.reader() as cursor:
        connection: Any = cursor.connection
        connection.set_trace_callback(asked.append)
    look_up(store)
    connection.set_trace_callback(None)
    assert len(asked) == 1
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {asked[0]}")]


def record(n: int) -> ForgetRecord:
    return ForgetRecord(f"r{n}", f"b{n}", f"s{n}", f"p{n}", "user", ForgetState.COMPLETE, None, n, n + 1, n, n + 9)
