"""A text whose vector is known is not embedded again; what cannot be trusted is not taken over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

import indexer.index_commands
from indexer.build import Builder
from indexer.commands import app
from indexer.item_vectors import SLICE
from rag_rec.domain import Item
from rag_rec.home.opening import store_of
from rag_rec.index.generation import Generation, Generations
from rag_rec.progress.protocol import Silent
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.building import LOG, CountingEmbedder

OWN = sorted({row.text for row in LOG if row.text})
ALL = sorted([*(item.text for item in ITEMS[:12]), *OWN])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    build(settings)
    return settings


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    store = store_of(settings)
    yield store
    store.close()


def embedded(settings: Settings, store: SqlStore) -> list[str]:
    """What a build embeds."""
    embedder = CountingEmbedder()
    Builder(store, Generations(settings.generations), settings, embedder, Silent()).build(fresh=False)
    return sorted(embedder.embedded)


def current(settings: Settings) -> Generation:
    return Generations(settings.generations).current()


def flip(path: Path) -> None:
    """Change a byte of a file, and not its size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_a_rebuild_of_an_unchanged_catalogue_embeds_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = CountingEmbedder()
    monkeypatch.setenv("RAGREC_HOME", str(settings.home))
    monkeypatch.setenv("RAGREC_INTEREST_CLUSTERS", "4")
    monkeypatch.setattr(indexer.index_commands, "open_embedder", lambda *_: embedder)
    before = current(settings)
    done = CliRunner().invoke(app, ["index", "rebuild", "--json"])
    assert done.exit_code == 0, done.output
    assert orjson.loads(done.stdout)["generation"] != before.id
    assert embedder.embedded == []
    assert CliRunner().invoke(app, ["index", "rebuild", "--embed-again", "--json"]).exit_code == 0
    assert sorted(embedder.embedded) == ALL


def test_only_changed_texts_are_embedded_and_the_vectors_are_the_same(settings: Settings, store: SqlStore) -> None:
    store.put_items([replace(ITEMS[3], text="another text"), Item("fresh", "a new text")])
    assert embedded(settings, store) == ["a new text", "another text"]
    reused = current(settings)
    Builder(store, Generations(settings.generations), settings, CountingEmbedder(), Silent()).build(fresh=True)
    afresh = current(settings)
    assert reused.manifest.files == afresh.manifest.files


def test_a_text_is_found_in_an_older_generation(settings: Settings, store: SqlStore) -> None:
    old = ITEMS[3].text
    store.put_items([replace(ITEMS[3], text="another text")])
    assert embedded(settings, store) == ["another text"]
    store.put_items([replace(ITEMS[3], text=old)])
    assert embedded(settings, store) == []


def test_item_vectors_of_a_damaged_generation_are_not_trusted(settings: Settings, store: SqlStore) -> None:
    flip(next((current(settings).folder / "items" / "index").glob("*.safetensors")))
    with capture_logs() as logs:
        assert embedded(settings, store) == sorted(item.text for item in ITEMS[:12])
    assert [line["reason"] for line in logs if line["event"] == "reuse_refused"] == ["damaged"]


def test_a_damaged_shard_is_not_trusted_and_the_others_are(settings: Settings, store: SqlStore) -> None:
    found = store.user("user-2")
    assert found is not None
    flip(current(settings).folder / "interactions" / f"{found[0] % 64:02d}.safetensors")
    assert embedded(settings, store) == ["a text of user 2"]


def test_a_generation_that_cannot_be_opened_is_built_anew(settings: Settings, store: SqlStore) -> None:
    path = next((current(settings).folder / "reader").iterdir())
    path.write_bytes(path.read_bytes()[:-3])
    assert embedded(settings, store) == ALL


def test_own_vectors_of_another_system_are_not_taken(settings: Settings, tmp_path: Path) -> None:
    """The other system has the same people, with other texts and other times."""
    other = settings_for(tmp_path / "other")
    rows = [replace(row, text=row.text and f"{row.text} elsewhere", time=row.time + 1) for row in LOG]
    fill(other, rows)
    shutil.copytree(settings.generations, other.generations)
    with closing(store_of(other)) as store:
        assert embedded(other, store) == sorted(f"{text} elsewhere" for text in OWN)


def test_a_generation_newer_than_the_store_is_not_trusted(settings: Settings, tmp_path: Path) -> None:
    other = settings_for(tmp_path / "other")
    fill(other, LOG[:4])
    with closing(store_of(settings)) as store:
        for _ in range(20):
            store.put_items([replace(ITEMS[3], text=f"text {store.epoch()}")])
        embedded(settings, store)
    shutil.copytree(settings.generations, other.generations)
    for old in Generations(other.generations).names()[:-1]:
        shutil.rmtree(other.generations / old)
    with closing(store_of(other)) as store:
        assert current(other).manifest.epoch > store.epoch()
        assert len(embedded(other, store)) == 12 + 1


def test_texts_are_embedded_in_slices_and_equal_ones_once(settings: Settings, store: SqlStore) -> None:
    texts = [f"text {number}" for number in range(3 * SLICE)]
    store.put_items([Item(f"new-{number}", text) for number, text in enumerate([*texts, *texts])])
    calls: list[int] = []
    told: list[int] = []

    class Telling(Silent):
        def advance(self, steps: int) -> None:
            told.append(steps)

    class Embedder(CountingEmbedder):
        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            calls.append(len(texts))
            return super().embed(texts)

    Builder(store, Generations(settings.generations), settings, Embedder(), Telling()).build(fresh=False)
    assert [count for count in calls if count] == [SLICE] * 3
    assert told[:4] == [12, 2 * SLICE, 2 * SLICE, 2 * SLICE]
