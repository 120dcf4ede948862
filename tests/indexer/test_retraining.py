from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson
import pytest

from indexer.retraining import settings_in_use
from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.compact.adapter import WEIGHTS
from rag_rec.compact.base import BaseSettings
from rag_rec.compact.training import AdapterSettings
from rag_rec.domain import Interaction
from rag_rec.engine.tending import open_saga
from rag_rec.errors import Busy, NotReady
from rag_rec.home.opening import store_of
from rag_rec.layers.records import ForgetState
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from rag_rec.store.records import Selection
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.compact_homes import LOG, QUICK, StopAfter, Stopped, build_compact, retrain, trained, without
from tests.rag_rec.forgetting.asking import forget_in


def home(folder: Path, log: Sequence[Interaction] = LOG) -> Settings:
    settings = settings_for(folder)
    fill(settings, log)
    build(settings)
    build_compact(settings, trained(held_out=0.5))
    return settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home(tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    store = store_of(settings)
    yield store
    store.close()


def in_use(settings: Settings) -> InUse:
    used = AdapterStore(settings.compact).current()
    assert used is not None
    return used


def settled(settings: Settings, store: SqlStore) -> int:
    return open_saga(settings, store).settle()


def test_an_adapter_that_is_trained_again_is_that_of_a_twin_who_never_knew_the_person(
    settings: Settings, tmp_path: Path
) -> None:
    before = in_use(settings)
    forget_in(settings, "user-3")
    after = retrain(settings)
    twin = home(tmp_path / "twin", without(LOG, "user-3"))
    assert in_use(settings) == InUse(before.base, after) == in_use(twin)
    files = [AdapterStore(each.compact).adapters / after / WEIGHTS for each in (settings, twin)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_adapter_that_saw_the_person_is_overwritten_and_its_debts_are_dropped(
    settings: Settings, store: SqlStore
) -> None:
    old = in_use(settings).adapter
    request = forget_in(settings, "user-3").request_id
    assert [(debt.request_id, debt.adapter) for debt in store.debts()] == [(request, old)]
    descriptor = os.open(AdapterStore(settings.compact).adapters / str(old) / WEIGHTS, os.O_RDONLY)
    try:
        new = retrain(settings)
        assert set(os.read(descriptor, 10**6)) == {0}
    finally:
        os.close(descriptor)
    assert AdapterStore(settings.compact).adapter_digests() == [new]
    assert store.debts() == []
    assert (store.has_lineage(str(old)), len(store.lineage(new))) == (False, 7)


def test_requests_wait_for_the_new_adapter_and_complete_with_it(settings: Settings, store: SqlStore) -> None:
    request = forget_in(settings, "user-3").request_id
    assert settled(settings, store) == 0
    retrain(settings)
    assert settled(settings, store) == 1
    record = store.forget_record(request)
    assert record is not None and record.state is ForgetState.COMPLETE


def test_an_adapter_that_comes_out_the_same_owes_nothing_any_more(tmp_path: Path) -> None:
    """Nothing was learned from what went, so that the adapter in use is the one without it."""
    settings = home(tmp_path / "other", (*LOG, Interaction("user-3", ITEMS[11].id, 99, "dislike")))
    old = str(in_use(settings).adapter)
    forget_in(settings, "user-3", Selection(frozenset({ITEMS[11].id}), before=100))
    store = store_of(settings)
    assert [debt.adapter for debt in store.debts()] == [old]
    assert retrain(settings) == old
    assert store.debts() == []
    assert settled(settings, store) == 1
    store.close()


def test_a_training_that_is_interrupted_goes_on(settings: Settings, tmp_path: Path) -> None:
    forget_in(settings, "user-3")
    with pytest.raises(Stopped):
        retrain(settings, StopAfter("adapter", 80))
    assert list(AdapterStore(settings.compact).training.iterdir())
    whole = home(tmp_path / "whole")
    forget_in(whole, "user-3")
    assert retrain(settings) == retrain(whole)


def test_nobody_may_be_forgotten_meanwhile(settings: Settings, store: SqlStore) -> None:
    class Forgetting(StopAfter):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
            if name == "adapter":
                forget_in(settings, "user-4")

    old = in_use(settings).adapter
    forget_in(settings, "user-3")
    with pytest.raises(Busy, match="run the same command again"):
        retrain(settings, Forgetting("adapter", 100))
    assert in_use(settings).adapter == old
    assert {debt.adapter for debt in store.debts()} == {old}
    assert len(store.debts()) == 2
    retrain(settings)
    assert store.debts() == []


def test_it_is_trained_as_the_one_in_use_was(settings: Settings, tmp_path: Path) -> None:
    compact = AdapterStore(settings.compact)
    found = settings_in_use(compact, "cpu", 7)
    assert found == trained(QUICK, held_out=0.5, rank=16)
    compact.set_current(in_use(settings).base)
    assert settings_in_use(compact, "cpu", 7).adapter == AdapterSettings(seed=7)
    with pytest.raises(NotReady, match="compact build"):
        settings_in_use(AdapterStore(tmp_path / "none"), "cpu", 0)


def test_settings_of_the_base_in_use_are_found_whole(settings: Settings) -> None:
    assert settings_in_use(AdapterStore(settings.compact), "cpu", 0).base == BaseSettings(width=16, layers=1, epochs=1)


def test_a_share_that_was_not_asked_for_is_chosen_anew(settings: Settings) -> None:
    """Also that of an earlier version, whose default was too small to tell a gain from noise."""
    compact = AdapterStore(settings.compact)
    built = build_compact(settings, trained(held_out=None)).adapter
    assert (built.manifest.settings["held_out"], built.manifest.settings["held_out_given"]) == (0.25, False)
    assert settings_in_use(compact, "cpu", 7).adapter.held_out is None
    manifest = compact.adapters / built.digest / "manifest.json"
    fields = orjson.loads(manifest.read_bytes())
    fields["settings"] |= {"held_out": 0.1}
    del fields["settings"]["held_out_given"]
    manifest.write_bytes(orjson.dumps(fields))
    assert settings_in_use(compact, "cpu", 7).adapter.held_out is None
