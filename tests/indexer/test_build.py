from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import indexer.item_vectors
from indexer.build import Builder
from indexer.verify import verify_generation
from rag_rec.domain import Item
from rag_rec.errors import CorruptIndex, InvalidInput
from rag_rec.home.opening import store_of
from rag_rec.index.erasing import vectors_in_files
from rag_rec.index.generation import Generations, verify_files
from rag_rec.progress.protocol import Silent
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.building import LOG, CountingEmbedder
from tests.rag_rec.forgetting.asking import forget_in


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    return settings


def builder_of(settings: Settings, store: Store, embedder: HashEmbedder) -> Builder:
    return Builder(store, Generations(settings.generations), settings, embedder, Silent())


def test_a_generation_says_what_it_holds_and_passes_verification(settings: Settings) -> None:
    generation = build(settings)
    assert generation.manifest.counts == {"items": 12, "users": 4, "interactions": 16}
    store = store_of(settings)
    assert generation.manifest.epoch == store.epoch()
    checked = verify_generation(generation, store)
    assert (checked["items"], checked["users"]) == (12, 4)
    store.close()


def test_an_empty_catalogue_cannot_be_built(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    with pytest.raises(InvalidInput, match="ingest a catalogue first"):
        build(settings)
    assert Generations(settings.generations).current_id() is None


def test_building_twice_takes_over_every_vector(settings: Settings) -> None:
    build(settings)
    store = store_of(settings)
    store.put_items([Item("fresh", "a new text")])
    again = CountingEmbedder()
    builder_of(settings, store, again).build(fresh=False)
    assert again.embedded == ["a new text"]
    everything = CountingEmbedder()
    builder_of(settings, store, everything).build(fresh=True)
    assert len(everything.embedded) == 13 + 4
    store.close()


def test_an_interrupted_build_goes_on_where_it_was(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexer.item_vectors, "CHUNK", 4)
    store = store_of(settings)
    with pytest.raises(KeyboardInterrupt):
        builder_of(settings, store, CountingEmbedder(limit=9)).build(fresh=False)
    assert Generations(settings.generations).current_id() is None
    rest = CountingEmbedder()
    generation = builder_of(settings, store, rest).build(fresh=False)
    assert rest.embedded[:4] == [item.text for item in ITEMS[8:]]
    assert len(rest.embedded) == 4 + 4
    verify_generation(generation, store)
    store.close()


def test_a_resumed_build_equals_one_that_was_never_interrupted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer.item_vectors, "CHUNK", 4)
    store = store_of(settings)
    for limit in (5, 5, 5):
        with pytest.raises(KeyboardInterrupt):
            builder_of(settings, store, CountingEmbedder(limit=limit)).build(fresh=False)
    resumed = builder_of(settings, store, CountingEmbedder()).build(fresh=False)
    store.close()
    other = settings_for(tmp_path / "other")
    fill(other, LOG)
    assert build(other).manifest.files == resumed.manifest.files


class Interrupted(Silent):
    """Calls something when a stage begins."""

    def __init__(self, actions: Mapping[str, Callable[[], object]]) -> None:
        self._actions = actions

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
        self._actions.get(name, lambda: None)()


@pytest.mark.parametrize("stage", ["item vectors", "people", "verify and publish"])
def test_a_user_forgotten_during_a_build_is_not_in_what_it_publishes(settings: Settings, stage: str) -> None:
    store = store_of(settings)
    generations = Generations(settings.generations)
    found = store.user("user-2")
    assert found is not None
    number = found[0]
    held = []

    def forget() -> None:
        held.extend(vectors_in_files(generations, [number]))
        forget_in(settings, "user-2")
        assert vectors_in_files(generations, [number]) == []

    generation = Builder(store, generations, settings, HashEmbedder(), Interrupted({stage: forget})).build(fresh=False)
    assert len(held) == (2 if stage == "verify and publish" else 0)
    assert vectors_in_files(generations, [number]) == []
    verify_files(generation)
    verify_generation(generation, store)
    store.close()


def test_a_killed_build_has_written_nobody_who_was_forgotten_meanwhile(settings: Settings) -> None:
    store = store_of(settings)
    generations = Generations(settings.generations)
    found = store.user("user-2")
    assert found is not None

    def killed() -> None:
        raise KeyboardInterrupt

    progress = Interrupted({"people": lambda: forget_in(settings, "user-2"), "reader": killed})
    with pytest.raises(KeyboardInterrupt):
        Builder(store, generations, settings, HashEmbedder(), progress).build(fresh=False)
    assert len(generations.building()) == 1
    assert vectors_in_files(generations, [found[0]]) == []
    store.close()


@pytest.mark.parametrize("victim", ["items/index/vectors.safetensors", "interactions/03.safetensors", "reader"])
def test_damaged_files_are_refused_by_name(settings: Settings, victim: str) -> None:
    generation = build(settings)
    path = generation.folder / victim
    path = next(path.glob("*.safetensors")) if path.is_dir() else path
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptIndex, match=path.name):
        Generations(settings.generations).current()


def test_content_that_differs_from_the_store_is_found(settings: Settings) -> None:
    generation = build(settings)
    store = store_of(settings)
    other = settings_for(settings.home / "other")
    fill(other, LOG[:-1])
    foreign = build(other)
    with pytest.raises(CorruptIndex, match="does not match the store"):
        verify_generation(foreign, store)
    verify_generation(generation, store)
    store.close()


def test_only_two_generations_are_kept(settings: Settings) -> None:
    made = [build(settings, fresh=True).id for _ in range(4)]
    assert Generations(settings.generations).names() == made[-2:]


def test_equal_texts_of_many_people_are_embedded_once(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, [replace(row, text="the same words") for row in LOG])
    store = store_of(settings)
    embedder = CountingEmbedder()
    builder_of(settings, store, embedder).build(fresh=False)
    assert embedder.embedded.count("the same words") == 1
    store.close()
