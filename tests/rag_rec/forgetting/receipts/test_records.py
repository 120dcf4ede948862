from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.engine.tending import open_saga
from rag_rec.errors import UnknownRequest
from rag_rec.forgetting.receipts.records import (
    described_batch,
    record_of,
    row,
    status_in_words,
    status_of,
    waits_for,
)
from rag_rec.home.opening import store_of
from rag_rec.layers.finding import LayerName, Status
from rag_rec.layers.records import ForgetState
from rag_rec.store.sql import SqlStore
from tests.homes import fill, settings_for
from tests.rag_rec.forgetting.asking import forget_all
from tests.rag_rec.forgetting.homes import CANARY, log
from tests.rag_rec.forgetting.records import FINDINGS, accepted, issued


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
    assert ", ".join(done.requests) in str(refused.value)
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


def test_records_stand_in_the_order_in_which_they_were_asked_for(store: SqlStore, tmp_path: Path) -> None:
    saga = open_saga(settings_for(tmp_path / "home"), store)
    people = [f"user-{u}" for u in range(5)]
    asked = [*forget_all(saga, *people).requests, *forget_all(saga, CANARY).requests]
    assert [record.request_id for record in store.forget_records()] == asked


def test_a_status_says_whom_it_means_and_what_is_open(store: SqlStore, tmp_path: Path) -> None:
    saga = open_saga(settings_for(tmp_path / "home"), store)
    record = saga.record(forget_all(saga, CANARY).requests[0])
    told = status_of(record)
    assert told["subject"] == f"hmac-sha256:{record.subject}"
    assert list(told["times"]) == ["accepted", "hidden", "erased", "effective", "unlearned", "complete"]
    assert (told["receipt_revision"], told["waits_for"]) == (1, [])
    words = status_in_words(record)
    assert [each["state"] for each in words["states"]] == list(ForgetState)
    assert words["receipt"] == f"revision 1 (rag-rec receipt show {record.request_id})"
    assert "waits for" not in words
    assert waits_for(record) is None


def test_a_status_without_a_receipt_says_how_to_go_on(store: SqlStore, tmp_path: Path) -> None:
    saga = open_saga(settings_for(tmp_path / "home"), store)
    record = saga.record(forget_all(saga, CANARY).requests[0])
    words = status_in_words(replace(record, state=ForgetState.HIDDEN, receipt=None, times={"accepted": 0, "hidden": 0}))
    assert words["receipt"] == "none yet"
    assert words["waits for"] == ["Its first attempt to finish: there is no receipt yet."]
    assert "rag-rec forget resume" in words["what to do"]
    assert [each["state"] for each in words["states"]] == ["accepted", "hidden"]


def test_a_status_names_the_layers_that_are_open(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    record = accepted(settings, "ada")
    pending = [
        replace(each, status=Status.PENDING, until=4000) if each.layer is LayerName.ADAPTER else each
        for each in FINDINGS
    ]
    said = [each for each in pending if each.layer is not LayerName.LOGS]
    waiting = replace(record, state=ForgetState.EFFECTIVE, receipt=issued(settings, record, said))
    assert waits_for(waiting) == "adapter (until 1970-01-01T00:00:04.000Z), logs"
    assert status_in_words(waiting)["waits for"] == [
        "adapter (was due 1970-01-01T00:00:04.000Z): adapter was looked at.",
        "logs: The receipt says nothing of this layer yet.",
    ]
    assert [(each["layer"], each["until"]) for each in status_of(waiting)["waits_for"]] == [
        ("adapter", "1970-01-01T00:00:04.000Z"),
        ("logs", None),
    ]


def test_a_line_of_a_list_fits_a_narrow_terminal(store: SqlStore, tmp_path: Path) -> None:
    done = forget_all(open_saga(settings_for(tmp_path / "home"), store), CANARY)
    (record,) = store.forget_records()
    line = row(record)
    assert line["request"] == done.request_id
    assert line["deadline"].endswith("Z")
    assert len("  ".join(["", *(value for value in line.values() if value)])) <= 80
