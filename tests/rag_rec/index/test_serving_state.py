"""The state in memory around a removal: what it prepares, what it says of itself, and that nothing moves in a pause."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import orjson
import pytest
from structlog.testing import capture_logs

from rag_rec.artifacts.digests import MANIFEST, digest_files
from rag_rec.artifacts.signature import SIGNATURE
from rag_rec.candidates import gram_inverse
from rag_rec.domain import Interaction, Item
from rag_rec.errors import CorruptIndex
from rag_rec.home.opening import store_of
from rag_rec.index.generation import Generations, verify_files
from rag_rec.index.serving_state import ServingState
from rag_rec.settings import Settings
from rag_rec.store.protocol import Store
from rag_rec.store.records import Change, Selection
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, fill, settings_for
from tests.rag_rec.store.removing import delete_interactions, delete_user

DAY = 86_400_000


def likes(user: str, *items: int, start: int = 100, text: str | None = None) -> list[Interaction]:
    return [Interaction(user, ITEMS[item].id, (start + n) * DAY, "like", None, text) for n, item in enumerate(items)]


LOG = [
    *likes("ann", 0, 1, 2, text="words"),
    *likes("ben", 0, 1, 2, 3),
    *likes("cleo", 1, 2, 3),
    *likes("dan", 8, 9),
    Interaction("eve", ITEMS[5].id, 100 * DAY, "rating", 1.0),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    build(settings)
    return settings


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = store_of(settings)
    yield store
    store.close()


@pytest.fixture
def live(settings: Settings, store: Store) -> ServingState:
    return ServingState.load(Generations(settings.generations).current(), store, settings, HashEmbedder())


def number_of(store: Store, user: str) -> int:
    found = store.user(user)
    assert found is not None
    return found[0]


def forget_item(store: Store, user: str, item: int) -> None:
    number = number_of(store, user)
    delete_interactions(store, number, store.select(number, Selection(item_ids=frozenset({ITEMS[item].id}))))


class Updates:
    """Counts how often P is updated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._compute = gram_inverse._update
        monkeypatch.setattr(gram_inverse, "_update", self)

    def __call__(self, *arguments: object) -> None:
        self.count += 1
        self._compute(*arguments)  # type: ignore[arg-type]


class TestPrepare:
    def test_the_removal_of_a_user_is_taken_over(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        updates, number = Updates(monkeypatch), number_of(store, "ann")
        live.prepare(number)
        assert updates.count == 1
        delete_user(store, number)
        live.follow()
        assert updates.count == 1
        assert live.sound()
        assert np.array_equal(live.statistics.together.block(np.arange(3), np.arange(3)).diagonal(), [1, 2, 2])

    def test_a_partial_removal_is_taken_over(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        updates, number = Updates(monkeypatch), number_of(store, "ann")
        history = live.people.history(number)
        live.prepare(number, history["interaction"][:1].tolist())
        forget_item(store, "ann", 0)
        live.follow()
        assert updates.count == 1
        assert live.agrees(number)
        assert live.sound()

    def test_an_event_in_between_costs_the_advantage_and_nothing_else(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        updates, number = Updates(monkeypatch), number_of(store, "ann")
        live.prepare(number)
        store.append(likes("dan", 4, start=300))
        live.follow()
        delete_user(store, number)
        live.follow()
        assert updates.count == 2
        assert live.sound()

    def test_what_does_not_come_can_be_discarded(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        updates, number = Updates(monkeypatch), number_of(store, "ann")
        live.prepare(number)
        live.discard()
        delete_user(store, number)
        live.follow()
        assert updates.count == 2

    def test_a_user_of_no_positives_needs_nothing(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        updates = Updates(monkeypatch)
        live.prepare(number_of(store, "eve"))
        live.prepare(10**6)
        assert updates.count == 0

    def test_before_the_statistics_are_there_nothing_is_prepared(self, settings: Settings, store: Store) -> None:
        loading: list[ServingState] = []

        class Loading(ServingState):
            def follow(self) -> None:
                loading.append(self)
                self.prepare(number_of(store, "ann"))
                self.discard()
                super().follow()

        Loading.load(Generations(settings.generations).current(), store, settings, HashEmbedder())
        assert len(loading) == 1


def test_what_memory_holds_of_a_user_is_told(live: ServingState, store: Store) -> None:
    ann, eve = number_of(store, "ann"), number_of(store, "eve")
    assert live.holds(ann) and live.holds(eve)
    assert not live.holds(10**6)
    delete_user(store, ann)
    assert live.holds(ann)
    live.follow()
    assert not live.holds(ann)
    live._positives[ann] = live._positives[number_of(store, "ben")]
    assert live.holds(ann)


def test_a_user_of_whom_something_was_forgotten_agrees_with_the_store(
    live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = number_of(store, "ben")
    assert live.agrees(ben)
    monkeypatch.setattr(live.people, "put", lambda *_: None)
    forget_item(store, "ben", 1)
    assert not live.agrees(ben)


def test_a_user_whose_positives_were_left_behind_does_not_agree(
    live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ben = number_of(store, "ben")
    monkeypatch.setattr(live, "_remember", lambda *_: None)
    forget_item(store, "ben", 1)
    assert not live.agrees(ben)


class TestSoundness:
    @pytest.mark.parametrize("many", [1, 100])
    def test_it_holds_while_people_come_and_go(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch, many: int
    ) -> None:
        monkeypatch.setattr("rag_rec.index.serving_state.MANY", many)
        assert live.sound()
        store.append([*likes("fay", 5, 6, 7), *likes("ann", 5, start=300)])
        live.follow()
        assert live.sound()
        forget_item(store, "ann", 1)
        delete_user(store, number_of(store, "ben"))
        delete_user(store, number_of(store, "eve"))
        live.follow()
        assert live.sound()

    @pytest.mark.parametrize(
        "skipped",
        [
            "rag_rec.candidates.statistics.Statistics.replace",
            "rag_rec.candidates.statistics.Statistics.settle",
            "rag_rec.candidates.gram_inverse.GramInverse.change",
            "rag_rec.candidates.gram_inverse.GramInverse.flush",
            "rag_rec.candidates.counts.DenseCounts.add",
            "rag_rec.candidates.counts.SparseCounts.add",
            "rag_rec.candidates.popularity.Popularity.change",
            "rag_rec.candidates.sequences.Sequences.replace",
            "rag_rec.vectors.interactions.InteractionIndex.remove",
            "rag_rec.index.serving_state.ServingState._remember",
        ],
    )
    def test_a_part_that_was_left_out_is_noticed(
        self, live: ServingState, store: Store, skipped: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(skipped, lambda *_, **__: None)
        delete_user(store, number_of(store, "ben"))
        live.follow()
        assert not live.sound()

    def test_a_profile_that_was_left_is_noticed(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(live.people.profiles, "remove", lambda *_: 0)
        delete_user(store, number_of(store, "ben"))
        live.follow()
        assert not live.sound()


class TestErasures:
    def test_an_answer_sees_a_change_at_whatever_moment_of_the_removal_it_begins(
        self, live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = [live.erasures]
        replace = live.statistics.replace

        def looking(*arguments: object) -> None:
            seen.append(live.erasures)
            replace(*arguments)  # type: ignore[arg-type]
            seen.append(live.erasures)

        monkeypatch.setattr(live.statistics, "replace", looking)
        salt = live.salt
        delete_user(store, number_of(store, "ben"))
        live.follow()
        assert seen[0] < seen[1] == seen[2] < live.erasures
        assert live.salt != salt

    def test_events_void_no_answer(self, live: ServingState, store: Store) -> None:
        erasures, epoch = live.erasures, live.epoch
        store.append(likes("dan", 4, start=300))
        live.follow()
        assert (live.erasures, live.epoch) == (erasures, epoch + 1)


def test_a_pause_follows_the_store_first_and_lets_nothing_change(live: ServingState, store: Store) -> None:
    store.append(likes("dan", 4, start=300))
    followed = threading.Thread(target=live.follow)
    with live.paused():
        epoch = live.epoch
        assert epoch == store.epoch()
        store.append(likes("dan", 5, start=400))
        followed.start()
        assert followed.is_alive()
        assert live.epoch == epoch
    followed.join()
    assert live.epoch == store.epoch() > epoch


def test_a_group_is_folded_into_the_inverse_once(
    live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = Updates(monkeypatch)
    for user in ("ann", "ben", "cleo"):
        delete_user(store, number_of(store, user))
    live.follow()
    assert updates.count == 1
    assert live.sound()


def test_an_item_that_came_after_the_changes_were_read_is_taken_up(
    live: ServingState, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its reading of the change log and of a history, another process stores a new item and acts on it."""
    read = store.changes

    def overtaken(after: int) -> list[Change]:
        changes = read(after)
        if not store.known_items(["newcomer"]):  # type: ignore[attr-defined]
            store.put_items([Item("newcomer", "a film that nobody knew")])
            store.append([Interaction("ann", "newcomer", 300 * DAY, "newly named")])
        return changes

    store.append(likes("ann", 5, start=200))
    monkeypatch.setattr(store, "changes", overtaken)
    live.follow()
    assert len(live.items) == len(ITEMS) + 1
    assert live.agrees(number_of(store, "ann"))
    assert live.sound()


def flipped(path: Path) -> None:
    """Change one bit in the middle of a file: its size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_one_changed_byte_in_any_file_of_an_index_is_noticed_before_it_is_used(
    settings: Settings, store: Store
) -> None:
    generation = Generations(settings.generations).current()
    for relative in generation.manifest.files:
        path = generation.folder / relative
        content = path.read_bytes()
        if content:
            flipped(path)
            with pytest.raises(CorruptIndex, match="rag-rec index rebuild"):
                ServingState.load(generation, store, settings, HashEmbedder())
            path.write_bytes(content)
    ServingState.load(generation, store, settings, HashEmbedder())


def test_files_that_were_exchanged_together_with_the_manifest_are_noticed(settings: Settings, store: Store) -> None:
    generation = Generations(settings.generations).current()
    flipped(generation.folder / "profiles" / "01.safetensors")
    manifest = orjson.loads((generation.folder / MANIFEST).read_bytes())
    manifest["files"] = {name: asdict(digest) for name, digest in digest_files(generation.folder).items()}
    (generation.folder / MANIFEST).write_bytes(orjson.dumps(manifest))
    exchanged = Generations(settings.generations).current()
    verify_files(exchanged)  # the digests alone do not tell
    with pytest.raises(CorruptIndex, match="changed after it was signed"):
        ServingState.load(exchanged, store, settings, HashEmbedder())


def test_an_index_of_an_earlier_version_is_used_and_the_log_says_that_it_is_not_signed(
    settings: Settings, store: Store
) -> None:
    generation = Generations(settings.generations).current()
    (generation.folder / SIGNATURE).unlink()
    with capture_logs() as logs:
        ServingState.load(generation, store, settings, HashEmbedder())
    assert [line["event"] for line in logs] == ["index_not_signed"]
    strict = settings.model_copy(update={"unsigned_index": "refuse"})
    with pytest.raises(CorruptIndex, match="RAGREC_UNSIGNED_INDEX"):
        ServingState.load(generation, store, strict, HashEmbedder())


def test_a_link_in_place_of_an_index_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    generation = Generations(settings.generations).current()
    path = generation.folder / "profiles" / "01.safetensors"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptIndex):
        Generations(settings.generations).current()
    path.unlink()
    (tmp_path / "elsewhere").rename(path)
    folder = generation.folder / "profiles"
    folder.rename(tmp_path / "folder")
    folder.symlink_to(tmp_path / "folder")
    with pytest.raises(CorruptIndex):
        verify_files(generation)
