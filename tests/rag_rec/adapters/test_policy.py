from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rag_rec.adapters.policy import NEVER, AdapterPolicy
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from tests.rag_rec.adapters.places import HOUR, NOON, complete, forget


@pytest.fixture
def seen(store: SqlStore) -> SqlStore:
    """A store in which adapter ``x`` saw everybody and ``y`` only c."""
    store.put_lineage("x", {0: 1, 1: 2, 2: 3}, store.epoch())
    store.put_lineage("y", {2: 3}, store.epoch())
    return store


def policy(store: SqlStore, **changes: Any) -> AdapterPolicy:
    return AdapterPolicy(store, Settings(home=Path("unused"), **changes))


def test_an_adapter_that_saw_nobody_who_was_forgotten_serves_without_limit(seen: SqlStore) -> None:
    forget(seen, "b")
    for name in ("strict", "deadline"):
        found = policy(seen, adapter_policy=name)
        assert found.limit("y") is None
        assert found.may_serve("y", 10**15)


def test_strict_lets_one_that_did_never_serve(seen: SqlStore) -> None:
    found = policy(seen, adapter_policy="strict")
    assert found.may_serve("x", NOON)
    forget(seen, "b")
    assert found.limit("x") == NEVER
    assert not found.may_serve("x", NOON - HOUR)


def test_deadline_lets_it_serve_for_some_hours_from_the_oldest_request_on(seen: SqlStore) -> None:
    forget(seen, "b", NOON + HOUR)
    found = policy(seen, adapter_hours=3)
    assert found.limit("x") == NOON + 4 * HOUR
    forget(seen, "c", NOON)
    for each in (found, policy(seen, adapter_hours=3)):
        assert each.may_serve("x", NOON + 3 * HOUR - 1)
    assert not found.may_serve("x", NOON + 4 * HOUR)
    assert policy(seen, adapter_hours=3).limit("x") == policy(seen, adapter_hours=3).limit("y") == NOON + 3 * HOUR


def test_hours_end_where_the_request_has_to_be_complete(seen: SqlStore) -> None:
    forget(seen, "b", days=2)
    assert policy(seen, adapter_hours=1000).limit("x") == NOON + 48 * HOUR
    assert policy(seen, adapter_hours=0).limit("x") == NOON


def test_an_adapter_that_was_trained_again_serves_again(seen: SqlStore) -> None:
    found = policy(seen, adapter_hours=0)
    first = forget(seen, "b", NOON)
    assert not found.may_serve("x", NOON)
    seen.put_lineage("x", {0: 1, 2: 3}, seen.epoch())
    complete(seen, first)
    assert found.may_serve("x", NOON)
    forget(seen, "c", NOON + HOUR)
    assert found.limit("x") == NOON + HOUR


def test_a_debt_of_a_request_that_is_not_open_is_not_overlooked(seen: SqlStore) -> None:
    complete(seen, forget(seen, "b"))
    assert policy(seen).limit("x") == NEVER
