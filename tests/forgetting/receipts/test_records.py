from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.errors import UnknownRequest
from rag_rec.forgetting.opening import open_saga
from rag_rec.forgetting.receipts.records import described_batch, record_of, row
from rag_rec.home import store_of
from rag_rec.store.records import ForgetState
from rag_rec.store.sql import SqlStore
from tests.forgetting.asking import forget_all
from tests.forgetting.homes import CANARY, log
from tests.homes import fill, settings_for


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    store = store_of(settings)
    yield store
    store.close()


def test_a_request_is_told_from_a_batch_and_from_nothing(store: SqlStore, tmp_path: Path) -> None:
    done = forget_all(open_saga(settings_for(tmp_path / "home"), store), CANARY, "user-1")
    assert record_of(store, done.requests[0]).request_id == done.requests[0]
    with pytest.raises(UnknownRequest, match="batch: each of its 2 requests") as refused:
        record_of(store, done.request_id)
    assert all(request in str(refused.value) for request in done.requests)
    with pytest.raises(UnknownRequest, match="no such forget request"):
        record_of(store, "nothing")


def test_of_a_large_batch_some_are_named(store: SqlStore, tmp_path: Path) -> None:
    people = [CANARY, *(f"user-{u}" for u in range(5))]
    done = forget_all(open_saga(settings_for(tmp_path / "home"), store), *people)
    with pytest.raises(UnknownRequest, match="6 requests") as refused:
        record_of(store, done.request_id)
    assert sum(request in str(refused.value) for request in done.requests) == 5


def test_a_batch_is_as_far_as_its_least_advanced_request(store: SqlStore, tmp_path: Path) -> None:
    done = forget_all(open_saga(settings_for(tmp_path / "home"), store), CANARY, "user-1")
    first, second = store.forget_records(batch_id=done.request_id)
    told = described_batch([first, replace(second, state=ForgetState.ERASED, epoch_after=99)])
    assert (told["request"], told["batch"], told["state"], told["epoch_after"]) == (None, done.request_id, "erased", 99)
    assert told["removed"] == {"interactions": 11, "users": 2}


def test_a_line_of_a_list_fits_a_narrow_terminal(store: SqlStore, tmp_path: Path) -> None:
    done = forget_all(open_saga(settings_for(tmp_path / "home"), store), CANARY)
    (record,) = store.forget_records()
    line = row(record)
    assert line["request"] == done.request_id
    assert line["deadline"].endswith("Z")
    assert len("  ".join(["", *(value for value in line.values() if value)])) <= 80
