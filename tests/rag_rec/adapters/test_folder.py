from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from filelock import FileLock

import rag_rec.artifacts.immutable
from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.published import CompactFolder
from rag_rec.errors import Busy, CorruptIndex, InvalidInput, NotReady


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return AdapterStore(tmp_path / "compact")


def writing(content: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "weights").write_text(content)
        (folder / "config.json").write_text("{}")

    return write


def put_base(store: AdapterStore, content: str = "base", epoch: int = 1, parent: str | None = None) -> CompactFolder:
    return store.publish_base(writing(content), epoch=epoch, settings={"width": 64}, counts={"items": 3}, parent=parent)


def put_adapter(store: AdapterStore, base: str, content: str = "adapter", epoch: int = 2) -> CompactFolder:
    return store.publish_adapter(writing(content), base=base, epoch=epoch, settings={}, counts={"users": 9})


class TestPublishing:
    def test_a_base_is_opened_by_its_digest(self, store: AdapterStore) -> None:
        published = put_base(store)
        found = store.open_base(published.digest)
        assert found == published
        assert found.folder == store.bases / found.digest
        assert len(found.digest) == 32
        assert (found.manifest.epoch, found.manifest.settings, found.manifest.counts) == (
            1,
            {"width": 64},
            {"items": 3},
        )
        assert found.manifest.lineage == found.digest
        assert found.manifest.parent is None

    def test_the_digest_depends_on_the_content_alone(self, store: AdapterStore, tmp_path: Path) -> None:
        digest = put_base(store, epoch=1).digest
        assert put_base(AdapterStore(tmp_path / "other"), epoch=9).digest == digest
        assert put_base(store, "something else").digest != digest

    def test_the_same_content_again_keeps_the_files_that_readers_hold(self, store: AdapterStore) -> None:
        first = put_base(store, epoch=1)
        before = (first.folder / "weights").stat()
        assert put_base(store, epoch=2).folder == first.folder
        assert (first.folder / "weights").stat().st_ino == before.st_ino
        assert store.open_base(first.digest).manifest.epoch == 2
        assert store.base_digests() == [first.digest]

    def test_damaged_content_is_replaced(self, store: AdapterStore) -> None:
        first = put_base(store)
        (first.folder / "weights").write_text("bass")
        assert put_base(store).digest == first.digest
        assert store.open_base(first.digest).digest == first.digest

    def test_a_failure_while_writing_leaves_nothing(self, store: AdapterStore) -> None:
        def fail(folder: Path) -> None:
            (folder / "weights").write_text("half")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.publish_base(fail, epoch=1, settings={}, counts={})
        assert list(store.bases.iterdir()) == []

    def test_an_adapter_belongs_to_the_lineage_of_its_base(self, store: AdapterStore) -> None:
        first = put_base(store)
        second = put_base(store, "extended", parent=first.digest)
        assert (second.manifest.lineage, second.manifest.parent) == (first.digest, first.digest)
        adapter = put_adapter(store, second.digest)
        assert (adapter.manifest.lineage, adapter.manifest.parent) == (first.digest, second.digest)

    def test_an_adapter_needs_a_base(self, store: AdapterStore) -> None:
        with pytest.raises(InvalidInput, match="rag-rec compact build"):
            put_adapter(store, "0" * 32)

    def test_a_second_writer_is_told_to_wait(self, store: AdapterStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rag_rec.artifacts.immutable, "LOCK_SECONDS", 0.01)
        store.root.mkdir()
        with FileLock(store.root / ".lock"), pytest.raises(Busy):
            put_base(AdapterStore(store.root))


class TestCurrent:
    def test_without_any_it_says_what_to_do(self, store: AdapterStore) -> None:
        assert store.current() is None
        with pytest.raises(NotReady, match="rag-rec compact build"):
            store.open_current()

    def test_a_base_alone_and_with_an_adapter(self, store: AdapterStore) -> None:
        base = put_base(store)
        store.set_current(base.digest)
        assert store.current() == InUse(base.digest)
        assert store.open_current() == (base, None)
        adapter = put_adapter(store, base.digest)
        store.set_current(base.digest, adapter.digest)
        assert store.open_current() == (base, adapter)
        pointer = orjson.loads((store.root / "CURRENT").read_bytes())
        assert pointer == {"base": base.digest, "adapter": adapter.digest}
        assert {path.name for path in store.root.iterdir()} == {"CURRENT", ".lock", "bases", "adapters"}

    def test_an_adapter_fits_bases_that_descend_from_its_own(self, store: AdapterStore) -> None:
        base = put_base(store)
        adapter = put_adapter(store, base.digest)
        extended = put_base(store, "extended", parent=base.digest)
        store.set_current(extended.digest, adapter.digest)
        assert store.current() == InUse(extended.digest, adapter.digest)

    def test_an_adapter_of_another_base_is_refused(self, store: AdapterStore) -> None:
        adapter = put_adapter(store, put_base(store).digest)
        other = put_base(store, "built afresh")
        with pytest.raises(InvalidInput, match="another base"):
            store.set_current(other.digest, adapter.digest)
        assert store.current() is None

    def test_what_is_in_use_and_gone_is_damage(self, store: AdapterStore) -> None:
        base = put_base(store)
        store.set_current(base.digest)
        base.folder.rename(store.bases / "elsewhere")
        with pytest.raises(CorruptIndex, match="gone"):
            store.open_current()

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"base": "x"}'])
    def test_a_damaged_pointer_is_refused(self, store: AdapterStore, content: bytes) -> None:
        store.root.mkdir()
        (store.root / "CURRENT").write_bytes(content)
        with pytest.raises(CorruptIndex, match="rag-rec compact build"):
            store.current()


class TestDamage:
    def damage(self, store: AdapterStore, change: Callable[[Path], object]) -> None:
        base = put_base(store)
        change(base.folder)
        with pytest.raises(CorruptIndex, match="rag-rec compact build"):
            store.open_base(base.digest)
        with pytest.raises(CorruptIndex):
            store.set_current(base.digest)

    def test_one_changed_byte(self, store: AdapterStore) -> None:
        self.damage(store, lambda folder: (folder / "weights").write_text("bbse"))

    def test_a_missing_file(self, store: AdapterStore) -> None:
        self.damage(store, lambda folder: (folder / "weights").unlink())

    def test_a_foreign_file(self, store: AdapterStore) -> None:
        self.damage(store, lambda folder: (folder / "other").touch())

    def test_a_missing_manifest(self, store: AdapterStore) -> None:
        self.damage(store, lambda folder: (folder / "manifest.json").unlink())

    def test_a_manifest_that_agrees_with_other_content(self, store: AdapterStore) -> None:
        """Whoever changes weights and manifest together still does not get the name right."""
        other = put_base(store, "other").folder

        def swap(folder: Path) -> None:
            for name in ("weights", "manifest.json"):
                (folder / name).write_bytes((other / name).read_bytes())

        self.damage(store, swap)

    def test_another_format(self, store: AdapterStore) -> None:
        def change(folder: Path) -> None:
            fields = orjson.loads((folder / "manifest.json").read_bytes())
            (folder / "manifest.json").write_bytes(orjson.dumps({**fields, "format": 99}))

        self.damage(store, change)

    @pytest.mark.parametrize("name", ["", "..", "../bases", "building-1", ".lock", "nothing"])
    def test_names_that_are_no_digest_are_refused(self, store: AdapterStore, name: str) -> None:
        put_base(store)
        (store.bases / "building-1").mkdir()
        with pytest.raises(InvalidInput):
            store.open_base(name)


class TestAdapters:
    def test_the_epoch_of_one_that_cannot_be_read_is_before_everything(self, store: AdapterStore) -> None:
        adapter = put_adapter(store, put_base(store).digest, epoch=7)
        assert store.epoch_of_adapter(adapter.digest) == 7
        (adapter.folder / "manifest.json").write_text("{")
        assert store.epoch_of_adapter(adapter.digest) == -1

    def test_those_that_are_being_written_are_not_published(self, store: AdapterStore) -> None:
        assert store.unfinished_adapters() == []
        (store.adapters / "building-1").mkdir(parents=True)
        assert store.unfinished_adapters() == [store.adapters / "building-1"]
        assert store.adapter_digests() == []

    def test_a_damaged_one_is_overwritten_when_it_is_replaced(self, store: AdapterStore) -> None:
        base = put_base(store).digest
        damaged = put_adapter(store, base)
        (damaged.folder / "weights").write_text("what people liked")
        descriptor = os.open(damaged.folder / "weights", os.O_RDONLY)
        try:
            assert put_adapter(store, base) == store.open_adapter(damaged.digest)
            assert set(os.read(descriptor, 100)) == {0}
        finally:
            os.close(descriptor)


class TestPruning:
    def test_the_current_and_the_one_before_are_kept(self, store: AdapterStore) -> None:
        base = put_base(store)
        adapters = [put_adapter(store, base.digest, f"adapter {number}").digest for number in range(4)]
        store.set_current(base.digest, adapters[3])
        assert store.prune() == adapters[:2]
        assert store.adapter_digests() == adapters[2:]
        assert store.base_digests() == [base.digest]

    def test_what_is_in_use_is_kept_however_old(self, store: AdapterStore) -> None:
        base = put_base(store)
        adapters = [put_adapter(store, base.digest, f"adapter {number}").digest for number in range(4)]
        store.set_current(base.digest, adapters[0])
        store.prune(keep=1)
        assert store.adapter_digests() == adapters[:1]
        assert store.open_current()[1] is not None

    def test_an_adapter_that_goes_is_overwritten(self, store: AdapterStore) -> None:
        base = put_base(store)
        old = put_adapter(store, base.digest, "what people liked")
        descriptor = os.open(old.folder / "weights", os.O_RDONLY)
        try:
            store.set_current(base.digest, put_adapter(store, base.digest, "new").digest)
            assert store.prune(keep=1) == [old.digest]
            assert set(os.read(descriptor, 100)) == {0}
        finally:
            os.close(descriptor)

    def test_an_adapter_that_fits_no_base_any_more_goes(self, store: AdapterStore) -> None:
        orphan = put_adapter(store, put_base(store, "first").digest, "orphan")
        bases = [put_base(store, content) for content in ("second", "third")]
        adapter = put_adapter(store, bases[0].digest, "of the second")
        store.set_current(bases[1].digest)
        gone = store.prune()
        assert gone[0] == orphan.digest
        assert store.adapter_digests() == [adapter.digest]
        assert store.base_digests() == [base.digest for base in bases]

    def test_adapters_from_before_a_removal_go_however_new(self, store: AdapterStore) -> None:
        base = put_base(store)
        adapters = [put_adapter(store, base.digest, f"adapter {epoch}", epoch).digest for epoch in (3, 5, 7)]
        store.set_current(base.digest, adapters[2])
        assert store.prune(keep=9, outdated=lambda epoch: epoch < 5) == adapters[:1]
        store.set_current(base.digest, adapters[1])
        assert store.prune(keep=9, outdated=lambda _: True) == adapters[2:]  # the one in use stays
        assert store.adapter_digests() == adapters[1:2]

    def test_unfinished_and_unreadable_folders_go(self, store: AdapterStore) -> None:
        base = put_base(store)
        store.set_current(base.digest)
        (store.bases / "building-1").mkdir()
        for name in ("unreadable", "unreadable too"):
            (store.bases / name).mkdir()
        assert store.prune(keep=1) == ["unreadable", "unreadable too"]
        assert [path.name for path in store.bases.iterdir()] == [base.digest]

    def test_an_empty_store_has_nothing_to_prune(self, store: AdapterStore) -> None:
        assert store.prune() == []
