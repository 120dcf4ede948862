from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest
from filelock import FileLock, Timeout

from rag_rec.adapters.folder import AdapterStore, InUse
from rag_rec.adapters.published import CompactFolder
from rag_rec.adapters.publishing import Publisher, forgotten_since
from rag_rec.errors import Busy
from rag_rec.store import SqlStore
from rag_rec.store.records import Selection
from tests.rag_rec.adapters.places import forget, put_base, writing
from tests.rag_rec.store.removing import delete_interactions


@dataclass
class Here:
    """A place that notes what was in use each time it was to say what it holds."""

    compact: AdapterStore
    id: str = "here"
    said: list[InUse | None] = field(default_factory=list)

    def say(self) -> None:
        self.said.append(self.compact.current())


@dataclass
class Measured:
    """What was to be discarded, and what there was."""

    gone: list[Collection[str]] = field(default_factory=list)
    left: list[Collection[str]] = field(default_factory=list)

    def discard(self, gone: Collection[str], left: Collection[str]) -> None:
        self.gone.append(gone)
        self.left.append(left)


@pytest.fixture
def here(compact: AdapterStore) -> Here:
    return Here(compact)


@pytest.fixture
def measured() -> Measured:
    return Measured()


@pytest.fixture
def publisher(store: SqlStore, compact: AdapterStore, here: Here, measured: Measured) -> Publisher:
    return Publisher(compact, store, here, measured.discard)


def publish(publisher: Publisher, name: str) -> CompactFolder:
    """An adapter of nothing but a name."""
    epoch = publisher.store.epoch()
    base = put_base(publisher.adapters)
    with publisher.writing(epoch):
        return publisher.adapters.publish_adapter(writing(name), base=base, epoch=epoch, settings={}, counts={})


def use(publisher: Publisher, adapter: CompactFolder, seen: dict[int, int]) -> None:
    publisher.put_to_use(str(adapter.manifest.parent), adapter, seen)


def test_an_adapter_is_put_to_use_with_whom_it_saw(
    publisher: Publisher, store: SqlStore, compact: AdapterStore, here: Here
) -> None:
    adapter = publish(publisher, "first")
    use(publisher, adapter, {0: 1, 2: 3})
    assert compact.current() == InUse(str(adapter.manifest.parent), adapter.digest)
    assert store.lineage(adapter.digest) == {0: 1, 2: 3}
    assert here.said == [None]  # before it was in use


def test_the_lock_is_held_until_the_adapter_is_in_use(
    publisher: Publisher, compact: AdapterStore, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []

    def noting(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def noted(*arguments: object) -> None:
            try:
                FileLock(compact.root / ".lock", timeout=0).acquire()
            except Timeout:
                held.append(name)
            original(*arguments)

        monkeypatch.setattr(owner, name, noted)

    adapter = publish(publisher, "first")
    for owner, name in ((here, "say"), (publisher.store, "put_lineage"), (compact, "point_to")):
        noting(owner, name)
    use(publisher, adapter, {0: 1})
    assert held == ["say", "put_lineage", "point_to"]


def test_what_saw_somebody_who_was_forgotten_is_not_written(
    publisher: Publisher, store: SqlStore, compact: AdapterStore
) -> None:
    epoch = store.epoch()
    compact.training.mkdir(parents=True)
    (compact.training / "checkpoint").write_bytes(b"learned")
    forget(store, "a")
    with pytest.raises(Busy, match="run the same command again"), publisher.writing(epoch):
        pytest.fail("written")
    assert not list(compact.training.glob("*"))


def test_one_who_is_forgotten_before_its_use_destroys_it(
    publisher: Publisher, store: SqlStore, compact: AdapterStore, here: Here, measured: Measured
) -> None:
    first = publish(publisher, "first")
    use(publisher, first, {1: 2})
    late = publish(publisher, "late")
    forget(store, "a")
    with pytest.raises(Busy):
        use(publisher, late, {0: 1})
    assert compact.adapter_digests() == [first.digest]  # in use, and did not see the person
    assert compact.current() == InUse(str(first.manifest.parent), first.digest)
    assert not store.has_lineage(late.digest)
    assert len(here.said) == 1
    assert (measured.gone[-1], measured.left[-1]) == ([late.digest], [first.digest])


def test_the_lineage_and_the_measurements_of_pruned_adapters_go(
    publisher: Publisher, store: SqlStore, measured: Measured
) -> None:
    made = []
    for name in ("first", "second", "third"):
        made.append(publish(publisher, name))
        use(publisher, made[-1], {0: 1})
    assert [store.has_lineage(adapter.digest) for adapter in made] == [False, True, True]
    assert [each for gone in measured.gone for each in gone] == [made[0].digest]


def test_what_is_not_needed_goes_even_where_the_place_cannot_say_so(
    publisher: Publisher, here: Here, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    adapter = publish(publisher, "first")
    monkeypatch.setattr(here, "say", fail)
    with pytest.raises(ZeroDivisionError):
        use(publisher, adapter, {0: 1})
    assert measured.left == [[adapter.digest]]


def test_a_removal_shows_from_before_it_and_not_from_after(store: SqlStore) -> None:
    before = store.epoch()
    assert not forgotten_since(store, 0)
    found = store.user("b")
    assert found is not None
    delete_interactions(store, found[0], store.select(found[0], Selection(frozenset({"i1"}))))
    assert forgotten_since(store, before)
    assert not forgotten_since(store, store.epoch())
