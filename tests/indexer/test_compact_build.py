from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock, Timeout
from peft import PeftModel
from safetensors import safe_open
from torch import nn

import indexer.compact_build
import indexer.trainer
from rag_rec.adapters.checkpoint import Checkpoint, Checkpoints
from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.publishing import Publisher
from rag_rec.compact.adapter import CONFIG, WEIGHTS
from rag_rec.compact.base import Base
from rag_rec.compact.training import AdapterTraining
from rag_rec.compact.vocabulary import BOS, Vocabulary
from rag_rec.domain import Interaction, Item
from rag_rec.errors import Busy, InvalidInput, NotReady
from rag_rec.progress.protocol import Silent
from rag_rec.recommend.gate import Gate, gate_path
from rag_rec.settings import Settings
from rag_rec.store import open_store
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.compact_homes import LOG, QUICK, StopAfter, Stopped, build_compact, trained, without
from tests.rag_rec.forgetting.asking import forget_in as forget


def home(folder: Path, log: tuple[Interaction, ...] | list[Interaction] = LOG) -> Settings:
    settings = settings_for(folder)
    fill(settings, log)
    build(settings)
    return settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return home(tmp_path / "home")


def put_item(settings: Settings, item: Item) -> None:
    store = open_store(settings.database_url)
    store.put_items([item])
    store.close()
    build(settings)


def stop(settings: Settings, percent: int) -> None:
    with pytest.raises(Stopped):
        build_compact(settings, progress=StopAfter("adapter", percent))


def test_a_build_publishes_a_base_and_an_adapter_and_puts_them_to_use(settings: Settings) -> None:
    built = build_compact(settings)
    compact = AdapterStore(settings.compact)
    assert compact.current() == InUse(built.base.digest, built.adapter.digest)
    manifest = built.adapter.manifest
    assert manifest.parent == built.base.digest
    assert (manifest.counts["users"], manifest.counts["interactions"]) == (8, len(LOG))
    with safe_open(built.adapter.folder / WEIGHTS, framework="pt") as file:
        assert manifest.counts["parameters"] == sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    assert (manifest.settings["epochs"], manifest.settings["rank"], manifest.settings["held_out"]) == (3, 16, 0.0)
    assert 0 < manifest.settings["loss"] < 5
    store = open_store(settings.database_url)
    assert manifest.epoch == store.epoch()
    store.close()
    assert not compact.training.exists()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_the_adapter_knows_what_comes_next_and_the_base_does_not(settings: Settings) -> None:
    built = build_compact(settings, trained(epochs=40))
    base = Base.load(built.base.folder)
    tokens = torch.tensor([[BOS, *(base.vocabulary.first_item + n for n in (2, 3, 4))]])
    expected = base.vocabulary.first_item + 5

    def chance(model: nn.Module) -> float:
        with torch.no_grad():
            return float(model(tokens).logits[0, -1].softmax(0)[expected])

    alone = chance(base.model)
    adapted = PeftModel.from_pretrained(base.model, built.adapter.folder)
    adapted.train(False)
    assert chance(adapted) > 0.4 > alone


def test_an_interrupted_build_goes_on_and_ends_at_the_same_bytes(
    settings: Settings, tmp_path: Path, epochs: list[int]
) -> None:
    whole = build_compact(settings).adapter
    interrupted = home(tmp_path / "interrupted")
    stop(interrupted, 80)
    assert AdapterStore(interrupted.compact).current() is None
    epochs.clear()
    resumed = build_compact(interrupted).adapter
    assert epochs == [2]
    for file in (CONFIG, WEIGHTS):
        assert (resumed.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    assert resumed.digest == whole.digest
    assert not AdapterStore(interrupted.compact).training.exists()


def test_another_training_does_not_go_on_from_the_checkpoint(settings: Settings, epochs: list[int]) -> None:
    stop(settings, 80)
    epochs.clear()
    build_compact(settings, trained(rate=2e-3))
    assert epochs == [0, 1, 2]


def test_a_checkpoint_from_before_a_removal_is_destroyed(settings: Settings, tmp_path: Path, epochs: list[int]) -> None:
    stop(settings, 80)
    forget(settings, "user-3")
    epochs.clear()
    built = build_compact(settings)
    assert epochs == [0, 1, 2]
    twin = build_compact(home(tmp_path / "twin", without(LOG, "user-3")))
    assert built.adapter.digest == twin.adapter.digest


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_held_out_sample_is_that_of_the_twin_too(settings: Settings, tmp_path: Path, share: float) -> None:
    """Users have other numbers in a system that never knew a person; the sample must not go by these."""
    how = trained(held_out=share)
    forget(settings, "user-3")
    twin = home(tmp_path / "twin", without(LOG, "user-3"))
    assert build_compact(settings, how).adapter.digest == build_compact(twin, how).adapter.digest


def test_nothing_is_published_when_somebody_is_forgotten_during_the_training(settings: Settings) -> None:
    class Forgetting(Silent):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
            if name == "adapter":
                forget(settings, "user-3")

    with pytest.raises(Busy, match="run the same command again"):
        build_compact(settings, progress=Forgetting())
    compact = AdapterStore(settings.compact)
    assert compact.current() is None
    assert compact.adapter_digests() == []
    assert not compact.training.exists()
    assert build_compact(settings).adapter.manifest.counts["users"] == 7


def test_nothing_is_written_when_somebody_is_forgotten_before_the_writing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = AdapterTraining.deltas

    def late(self: AdapterTraining) -> object:
        forget(settings, "user-3")
        return original(self)

    monkeypatch.setattr(AdapterTraining, "deltas", late)
    monkeypatch.setattr(indexer.trainer, "write_adapter", None)  # may not be called
    with pytest.raises(Busy, match="run the same command again"):
        build_compact(settings)
    compact = AdapterStore(settings.compact)
    assert (compact.adapter_digests(), compact.unfinished_adapters()) == ([], [])
    assert not compact.training.exists()


def test_no_removal_comes_between_the_check_and_the_checkpoint(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    original = Checkpoints.save

    def noted(self: Checkpoints, checkpoint: Checkpoint) -> None:
        try:
            FileLock(settings.compact / ".lock", timeout=0).acquire()
        except Timeout:
            held.append(True)
        original(self, checkpoint)

    monkeypatch.setattr(Checkpoints, "save", noted)
    build_compact(settings)
    assert held == [True] * 3


def test_a_build_destroys_adapters_that_know_somebody_who_was_forgotten(settings: Settings) -> None:
    compact = AdapterStore(settings.compact)
    kept = [build_compact(settings, trained(epochs=epochs)).adapter.digest for epochs in (1, 2)]
    gates = [gate_path(settings.gates, "base", adapter) for adapter in kept]
    for path, adapter in zip(gates, kept, strict=True):
        Gate(use=True, weight=1.0, model="base", adapter=adapter).save(path)
    assert compact.adapter_digests() == kept
    forget(settings, "user-3")
    built = build_compact(settings)
    assert compact.adapter_digests() == [built.adapter.digest]
    assert not any(path.exists() for path in gates)


def lineage_of(settings: Settings, adapter: str) -> dict[int, int]:
    store = open_store(settings.database_url)
    try:
        return store.lineage(adapter)
    finally:
        store.close()


@pytest.mark.parametrize("held_out", [0.0, 1.0])
def test_a_training_records_whom_its_adapter_saw(settings: Settings, held_out: float) -> None:
    adapter = build_compact(settings, trained(held_out=held_out)).adapter.digest
    assert lineage_of(settings, adapter) == {user: 3 + user % 4 - int(held_out) for user in range(8)}


def test_the_lineage_is_written_before_the_adapter_is_used(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    original = AdapterStore.set_current

    def noted(self: AdapterStore, base: str, adapter: str | None = None) -> None:
        seen.append(bool(lineage_of(settings, str(adapter))))
        original(self, base, adapter)

    monkeypatch.setattr(AdapterStore, "set_current", noted)
    build_compact(settings)
    assert seen == [True]


def test_the_lineage_of_pruned_adapters_goes_with_them(settings: Settings) -> None:
    first, second, third = (build_compact(settings, trained(epochs=n)).adapter.digest for n in (1, 2, 3))
    assert [bool(lineage_of(settings, adapter)) for adapter in (first, second, third)] == [False, True, True]


def test_an_adapter_is_destroyed_when_somebody_is_forgotten_before_its_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = build_compact(settings).adapter.digest
    original = Publisher.put_to_use

    def late(self: Publisher, base: str, adapter: CompactFolder, seen: Mapping[int, int]) -> None:
        forget(settings, "user-3")
        original(self, base, adapter, seen)

    monkeypatch.setattr(Publisher, "put_to_use", late)
    with pytest.raises(Busy, match="run the same command again"):
        build_compact(settings, trained(epochs=1))
    compact = AdapterStore(settings.compact)
    assert compact.adapter_digests() == [earlier]  # in use until the next build
    used = compact.current()
    assert used is not None and used.adapter == earlier


def test_a_damaged_base_is_built_afresh(settings: Settings) -> None:
    first = build_compact(settings)
    weights = first.base.folder / "model.safetensors"
    weights.write_bytes(b"\0" + weights.read_bytes()[1:])
    again = build_compact(settings)
    assert again.base.digest == first.base.digest
    assert AdapterStore(settings.compact).open_current()[0].digest == first.base.digest


def test_an_unchanged_catalogue_keeps_its_base(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_compact(settings)
    monkeypatch.setattr(indexer.compact_build, "build_base", None)
    again = build_compact(settings, trained(epochs=1))
    assert again.base.digest == first.base.digest
    assert again.adapter.digest != first.adapter.digest
    with pytest.raises(TypeError):
        build_compact(settings, fresh=True)


def test_new_items_extend_the_base(settings: Settings) -> None:
    first = build_compact(settings)
    put_item(settings, Item("item-new", "a comedy of stars"))
    second = build_compact(settings)
    assert second.base.manifest.parent == first.base.digest
    assert second.base.manifest.lineage == first.base.digest
    assert Vocabulary.load(second.base.folder).items[-1] == "item-new"


@pytest.mark.parametrize("how", ["a text that changed", "another architecture", "more items than spare rows"])
def test_a_base_that_does_not_fit_is_built_afresh(settings: Settings, how: str) -> None:
    first = build_compact(settings)
    changed = QUICK
    if how == "a text that changed":
        put_item(settings, replace(ITEMS[3], text="something else"))
    elif how == "another architecture":
        changed = replace(QUICK, base=replace(QUICK.base, layers=2))
    else:
        store = open_store(settings.database_url)
        store.put_items([Item(f"more-{n}", f"more {n}") for n in range(65)])
        store.close()
        build(settings)
    second = build_compact(settings, changed)
    assert second.base.digest != first.base.digest
    assert second.base.manifest.parent is None


def test_the_newest_item_of_people_held_out_is_not_learned(settings: Settings) -> None:
    shortest = build_compact(settings, trained(held_out=1.0)).adapter
    other = home(settings.home / "other", [row for row in LOG if row != _newest(row.user_id)])
    assert shortest.manifest.settings["held_out"] == 1.0
    same = build_compact(other).adapter
    assert (shortest.folder / WEIGHTS).read_bytes() == (same.folder / WEIGHTS).read_bytes()


def _newest(user_id: str) -> Interaction:
    return [row for row in LOG if row.user_id == user_id][-1]


def test_items_that_the_index_does_not_know_are_left_out(settings: Settings) -> None:
    store = open_store(settings.database_url)
    store.put_items([Item("late", "a late item")])
    store.append([Interaction("user-0", "late", 200 * 86_400_000, "like")])
    store.close()
    assert build_compact(settings).adapter.manifest.counts["interactions"] == len(LOG)


def test_a_build_needs_an_index_of_the_same_embedding_model(tmp_path: Path, settings: Settings) -> None:
    class Other(HashEmbedder):
        digest = "another"

    with pytest.raises(NotReady, match="index build"):
        build_compact(settings_for(tmp_path / "empty"))
    with pytest.raises(NotReady, match="another embedding model"):
        build_compact(settings, embedder=Other())


def test_a_build_needs_somebody_who_liked_something(tmp_path: Path) -> None:
    disliked = [replace(row, event="dislike") for row in LOG]
    with pytest.raises(InvalidInput, match="liked anything yet"):
        build_compact(home(tmp_path / "none", disliked))


def test_a_context_beyond_the_model_is_refused(settings: Settings) -> None:
    with pytest.raises(InvalidInput, match="at most 254"):
        build_compact(settings, trained(context=255))


def test_two_builds_do_not_run_at_once(settings: Settings) -> None:
    settings.compact.mkdir()
    with FileLock(settings.compact / ".build.lock"), pytest.raises(Busy, match="Another build"):
        build_compact(settings)
