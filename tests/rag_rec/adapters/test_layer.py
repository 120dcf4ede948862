from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.layer import AdapterFindings
from rag_rec.adapters.measured import FILE, write_measured
from rag_rec.artifacts.immutable import POINTER
from rag_rec.layers.finding import Finding, LayerName, Status
from rag_rec.layers.records import ForgetRecord
from rag_rec.presence.replicas import present
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from tests.rag_rec.adapters.measuring import MEASURED
from tests.rag_rec.adapters.places import HOUR, NOON, forget, put_adapter, put_base

DEADLINE = Settings(home=Path("unused"), adapter_hours=5)
STRICT = Settings(home=Path("unused"), adapter_policy="strict")


def find(store: SqlStore, compact: AdapterStore, record: ForgetRecord, settings: Settings = DEADLINE) -> Finding:
    found = AdapterFindings(store, compact, settings).of(record)
    assert found.layer is LayerName.ADAPTER
    return found


def test_without_adapters_nothing_can_be_left(store: SqlStore, compact: AdapterStore) -> None:
    found = find(store, compact, forget(store, "b"))
    assert (found.status, found.why) == (Status.PROVEN, "There is no adapter, on disk or in a running service.")
    assert found.detail == {"adapter": None, "adapter_epoch": None, "adapters": 0, "older": 0}


@pytest.mark.parametrize(
    ("settings", "until", "why"),
    [(DEADLINE, NOON + 5 * HOUR, "may rank until then"), (STRICT, NOON + 720 * HOUR, "does not rank meanwhile")],
    ids=["deadline", "strict"],
)
def test_an_adapter_that_saw_the_person_is_waited_for(
    store: SqlStore, compact: AdapterStore, settings: Settings, until: int, why: str
) -> None:
    adapter = put_adapter(compact, "old", store.epoch(), use=True)
    store.put_lineage(adapter, {0: 1, 1: 2}, store.epoch())
    found = find(store, compact, forget(store, "b"), settings)
    assert (found.status, found.until) == (Status.PENDING, until)
    assert why in found.why
    counted = {"policy": settings.adapter_policy, "owing": 1, "unknown": 0, "in_memory": 0}
    assert found.detail == {**counted, "waits_for": adapter}


def test_an_adapter_that_did_not_see_the_person_is_no_hindrance(store: SqlStore, compact: AdapterStore) -> None:
    epoch = store.epoch()
    adapter = put_adapter(compact, "old", epoch, use=True)
    store.put_lineage(adapter, {0: 1}, epoch)
    found = find(store, compact, forget(store, "b"))
    assert found.status is Status.PROVEN
    assert "none of their lineages" in found.why
    assert found.detail == {"adapter": adapter, "adapter_epoch": epoch, "adapters": 1, "older": 1}


def test_an_adapter_that_was_trained_after_the_erasure_is_none_either(store: SqlStore, compact: AdapterStore) -> None:
    record = forget(store, "b")
    adapter = put_adapter(compact, "new", store.epoch(), use=True)
    found = find(store, compact, record)
    assert found.status is Status.PROVEN
    assert "trained after the erasure" in found.why
    assert found.detail["adapter"] == adapter
    assert found.detail["older"] == 0


def test_an_adapter_of_unknown_lineage_is_never_taken_for_clean(store: SqlStore, compact: AdapterStore) -> None:
    adapter = put_adapter(compact, "old", store.epoch())
    record = forget(store, "b")
    found = find(store, compact, record)
    assert (found.status, found.detail["unknown"]) == (Status.PENDING, 1)
    (compact.adapters / adapter / "manifest.json").write_text("{")
    assert find(store, compact, record).status is Status.PENDING


def test_an_adapter_that_is_being_written_is_not_either(store: SqlStore, compact: AdapterStore) -> None:
    record = forget(store, "b")
    (compact.adapters / "building-1").mkdir(parents=True)
    found = find(store, compact, record)
    assert (found.status, found.detail["unknown"]) == (Status.PENDING, 1)


def test_what_is_in_use_is_left_open_where_nobody_can_tell(store: SqlStore, compact: AdapterStore) -> None:
    record = forget(store, "b")
    put_adapter(compact, "new", store.epoch(), use=True)
    (compact.root / POINTER).write_text("{")
    found = find(store, compact, record)
    assert found.status is Status.PROVEN
    assert found.detail["adapter"] is None


def test_an_adapter_that_is_gone_is_waited_for_while_a_running_service_has_it(
    store: SqlStore, compact: AdapterStore
) -> None:
    record = forget(store, "b")
    new = put_adapter(compact, "new", store.epoch(), use=True)
    store.beat(present("service", store.epoch(), ("gone", new)))
    found = find(store, compact, record)
    assert (found.status, found.detail) == (
        Status.PENDING,
        {"policy": "deadline", "owing": 0, "unknown": 0, "in_memory": 1, "waits_for": "gone"},
    )
    assert "running service" in found.why
    store.beat(present("service", store.epoch(), (new,)))
    assert find(store, compact, record).status is Status.PROVEN


def test_one_look_at_the_adapters_serves_every_request(store: SqlStore, compact: AdapterStore) -> None:
    adapter = put_adapter(compact, "old", store.epoch(), use=True)
    store.put_lineage(adapter, {1: 2}, store.epoch())
    records = [forget(store, "b"), forget(store, "c")]
    findings = AdapterFindings(store, compact, DEADLINE)
    store.drop_lineage([adapter])
    assert [findings.of(record).status for record in records] == [Status.PENDING, Status.PENDING]
    assert [find(store, compact, record).detail["unknown"] for record in records] == [1, 1]


def test_of_a_partial_erasure_only_the_interactions_are_said_to_be_unseen(
    store: SqlStore, compact: AdapterStore
) -> None:
    record = replace(forget(store, "b"), scope="interactions")
    put_adapter(compact, "new", store.epoch(), use=True)
    assert "saw the interactions that were to go: each" in find(store, compact, record).why
    put_adapter(compact, "unknown", 0)
    assert "An adapter saw the interactions that were to go, or may have" in find(store, compact, record).why


def test_a_removal_that_is_not_exact_is_measured_and_of_its_own_requests_only(
    store: SqlStore, compact: AdapterStore
) -> None:
    record, other = forget(store, "b"), forget(store, "c")
    new = put_adapter(compact, "new", store.epoch(), use=True)
    store.put_lineage(new, {0: 1}, store.epoch(), {record.request_id: MEASURED.text()})
    found = find(store, compact, record, DEADLINE.model_copy(update={"adapter_budget": 0.1}))
    assert (found.status, found.detail["adapter"], found.detail["budget_left"]) == (Status.MEASURED, new, 42)
    assert find(store, compact, other).status is Status.PROVEN


def test_after_a_restore_the_folder_still_knows_who_was_only_suppressed(store: SqlStore, compact: AdapterStore) -> None:
    record, base = forget(store, "b"), put_base(compact)
    made = compact.publish_adapter(
        lambda folder: write_measured(folder, {record.request_id: MEASURED}),
        base=base,
        epoch=store.epoch(),
        settings={},
        counts={},
    )
    compact.set_current(base, made.digest)
    store.put_lineage(made.digest, {0: 1}, store.epoch())
    assert find(store, compact, record).status is Status.MEASURED
    (made.folder / FILE).write_text("{")
    assert find(store, compact, record).status is Status.PENDING


def test_a_removal_of_which_the_measurement_is_lost_is_left_open(store: SqlStore, compact: AdapterStore) -> None:
    record = forget(store, "b")
    new = put_adapter(compact, "new", store.epoch(), use=True)
    store.put_lineage(new, {0: 1}, store.epoch(), {record.request_id: "{"})
    found = find(store, compact, record)
    assert (found.status, found.detail) == (Status.PENDING, {"waits_for": new})
    assert "adapter retrain" in found.why
