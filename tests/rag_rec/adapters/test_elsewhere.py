"""Adapters in other data folders: a folder that is down holds what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.layer import AdapterFindings
from rag_rec.adapters.memory import lingering
from rag_rec.adapters.removal import destroy_unused
from rag_rec.layers.finding import Status
from rag_rec.places.cleaning import Cleaner
from rag_rec.places.occupation import Occupation
from rag_rec.presence.replicas import present
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from rag_rec.store.records import Debt
from tests.rag_rec.adapters.places import forget, put_adapter


@pytest.fixture
def here(tmp_path: Path, store: SqlStore) -> Settings:
    """A data folder without adapters, which is a place."""
    return known(Settings(home=tmp_path / "here"), store)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    """Another data folder."""
    return Settings(home=tmp_path / "elsewhere")


def known(settings: Settings, store: SqlStore) -> Settings:
    """Open a data folder for a moment: it registers, is cleaned and reports."""
    place = Occupation(settings, store)
    Cleaner(settings, store, place).clean(thorough=True)
    place.close()
    return settings


def id_of(settings: Settings, store: SqlStore) -> str:
    place = Occupation(settings, store)
    place.close()
    return place.id


def test_the_debt_of_an_adapter_in_another_folder_stays(store: SqlStore, here: Settings, elsewhere: Settings) -> None:
    adapter = put_adapter(AdapterStore(elsewhere.compact), "theirs", store.epoch(), use=True)
    known(elsewhere, store)
    store.put_lineage(adapter, {1: 2}, store.epoch())
    forget(store, "b")
    assert destroy_unused(AdapterStore(here.compact), store, id_of(here, store)) == []
    assert store.debts() == [Debt("request of b", adapter)]  # it was called gone, since it is not in this folder


def test_an_adapter_that_a_service_uses_from_another_folder_is_not_gone(
    store: SqlStore, here: Settings, elsewhere: Settings
) -> None:
    adapter = put_adapter(AdapterStore(elsewhere.compact), "theirs", store.epoch(), use=True)
    known(elsewhere, store)
    store.beat(present("their service", store.epoch(), (adapter, "lost")))
    assert lingering(store, AdapterStore(here.compact), id_of(here, store)) == {"lost"}


def test_adapters_are_not_called_clean_before_the_other_folder_was_looked_at(
    store: SqlStore, here: Settings, elsewhere: Settings
) -> None:
    known(elsewhere, store)
    record = forget(store, "b")
    found = AdapterFindings(store, AdapterStore(here.compact), here, id_of(here, store)).of(record)
    assert (found.status, found.detail) == (Status.PENDING, {"places": 1})
    assert ":elsewhere" in found.why
    known(elsewhere, store)
    found = AdapterFindings(store, AdapterStore(here.compact), here, id_of(here, store)).of(record)
    assert found.status is Status.PROVEN


def test_an_adapter_in_use_of_which_nobody_knows_whom_it_saw_goes_when_its_folder_is_opened(
    store: SqlStore, elsewhere: Settings
) -> None:
    compact = AdapterStore(elsewhere.compact)
    put_adapter(compact, "unrecorded", store.epoch(), use=True)
    forget(store, "b")
    known(elsewhere, store)
    used = compact.current()
    assert used is not None and used.adapter is None
    assert compact.adapter_digests() == []


def test_training_checkpoints_and_partial_files_of_another_folder_go_when_it_is_opened(
    store: SqlStore, elsewhere: Settings
) -> None:
    known(elsewhere, store)
    (elsewhere.compact / "training").mkdir(parents=True)
    checkpoint = elsewhere.compact / "training" / "000001.safetensors"
    checkpoint.write_bytes(b"what was learned")
    partial = elsewhere.generations / "building-1" / "profiles" / "00.rewritten"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"a vector")
    forget(store, "b")
    known(elsewhere, store)
    assert not checkpoint.exists() and not partial.exists()
    assert {place.epoch for place in store.places()} == {store.erasure_epoch()}
