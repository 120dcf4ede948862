"""Removal by shards in a whole system: what is served equals, to the byte, the adapter of a twin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from indexer.auditing import AdapterAudit
from indexer.remainder import Remainder
from indexer.retraining import settings_in_use
from indexer.sharding import Sharding
from rag_rec.adapters.checkpoint import PART, Checkpoint, Checkpoints
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.published import SHARDS
from rag_rec.adapters.publishing import Publisher
from rag_rec.adapters.removal import destroy_unused
from rag_rec.compact.adapter import WEIGHTS
from rag_rec.compact.people import People
from rag_rec.compact.training import AdapterSettings
from rag_rec.domain import Interaction, Item
from rag_rec.engine.tending import occupied, open_saga
from rag_rec.errors import Busy, InvalidInput
from rag_rec.forgetting.receipts.document import read_receipt
from rag_rec.home.opening import store_of
from rag_rec.layers.finding import LayerName, Status
from rag_rec.layers.records import ForgetState
from rag_rec.progress.protocol import Progress, Silent
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from rag_rec.store.records import Selection
from tests.homes import ITEMS, build, fill, settings_for
from tests.indexer.compact_homes import QUICK, StopAfter, Stopped, build_compact, retrain, trained
from tests.indexer.crashes import crash_at_lineage, crash_at_use
from tests.indexer.memorised_homes import builder_of, copied
from tests.rag_rec.adapters.measuring import MEASURED
from tests.rag_rec.forgetting.asking import forget_in

LOG = tuple(
    Interaction(f"user-{u}", ITEMS[(u + n) % 12].id, 1000 * n + u, "like") for u in range(24) for n in range(3 + u % 4)
)
Twin = Callable[..., Settings]
IN_SHARDS = trained(QUICK, shards=3, together=2, reserve=0.2)


def home(folder: Path, log: Sequence[Interaction] = LOG, **changes: object) -> Settings:
    settings = settings_for(folder)
    fill(settings, log)
    build(settings)
    build_compact(settings, trained(IN_SHARDS, **changes))
    return settings


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Made once; every test has a copy."""
    return home(tmp_path_factory.mktemp("made") / "home")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    """The same system as it would be had some people never existed; for reading, made once for each of them."""

    @cache
    def made(*gone: str) -> Settings:
        return home(tmp_path_factory.mktemp("twin") / "home", without(*gone))

    return made


@pytest.fixture
def settings(made: Settings, tmp_path: Path) -> Settings:
    return copied(made, tmp_path / "home")


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlStore]:
    with closing(store_of(settings)) as store:
        yield store


def used(settings: Settings) -> str:
    found = AdapterStore(settings.compact).current()
    assert found is not None and found.adapter is not None
    return found.adapter


def unlearn(settings: Settings, progress: Progress | None = None) -> str:
    with closing(store_of(settings)) as store:
        return Sharding(builder_of(settings, store, progress)).remove([])


def shard_files(settings: Settings) -> dict[str, bytes]:
    folder = AdapterStore(settings.compact).adapters / used(settings) / SHARDS
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def weights(settings: Settings) -> bytes:
    return (AdapterStore(settings.compact).adapters / used(settings) / WEIGHTS).read_bytes()


def places(settings: Settings) -> dict[str, int | None]:
    """In which shard each person is; None in the reserve."""
    how = IN_SHARDS.adapter
    with closing(store_of(settings)) as store:
        people = People.read(store, settings.positive_rule, len(ITEMS)).apart(how.reserve, how.seed)
        found: dict[str, int | None] = {people.users[number].id: None for number, _ in people.reserve}
        for place in range(how.shards):
            inside = people.among(place, how.shards, how.seed).positives
            found |= {people.users[number].id: place for number, _ in inside}
    return found


def someone(settings: Settings, place: int | None) -> str:
    return next(user for user, at in places(settings).items() if at == place)


def settled(settings: Settings, store: SqlStore) -> int:
    return open_saga(settings, store).settle()


def without(*users: str) -> list[Interaction]:
    return [row for row in LOG if row.user_id not in users]


class Told(Silent):
    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
        self.stages.append(name)


def test_every_shard_has_people(settings: Settings) -> None:
    found = list(places(settings).values())
    assert set(found) == {0, 1, 2, None} and found.count(None) > 1
    assert len(shard_files(settings)) == 3


@pytest.mark.parametrize("place", [1, None])
def test_the_adapter_is_that_of_a_twin_who_never_knew_the_person(
    settings: Settings, twin: Twin, place: int | None
) -> None:
    """Also where the person was in the reserve, by which the shards are added up."""
    person = someone(settings, place)
    forget_in(settings, person)
    new = unlearn(settings)
    expected = twin(person)
    assert new == used(settings) == used(expected)
    assert weights(settings) == weights(expected)
    assert shard_files(settings) == shard_files(expected)
    assert AdapterStore(settings.compact).adapter_digests() == [new]


def test_two_people_who_go_one_after_the_other_leave_the_twin_of_both(settings: Settings, twin: Twin) -> None:
    gone = [someone(settings, 0), someone(settings, 2)]
    for person in gone:
        forget_in(settings, person)
        unlearn(settings)
    expected = twin(*gone)
    assert used(settings) == used(expected)


def test_only_the_shards_of_those_who_go_are_trained_again(settings: Settings, epochs: list[int]) -> None:
    before = shard_files(settings)
    forget_in(settings, someone(settings, 1))
    unlearn(settings)
    assert epochs == [0, 1, 2, 0, 1]
    assert len(before.items() & shard_files(settings).items()) == 2
    epochs.clear()
    forget_in(settings, someone(settings, 0))
    forget_in(settings, someone(settings, 2))
    unlearn(settings)
    assert epochs == [0, 1, 2, 0, 1, 2, 0, 1]


def test_without_epochs_together_the_sum_is_served(tmp_path: Path, epochs: list[int]) -> None:
    settings = home(tmp_path / "other", together=0)
    assert epochs == [0, 1, 2] * 3
    epochs.clear()
    person = someone(settings, 1)
    forget_in(settings, person)
    unlearn(settings)
    assert epochs == [0, 1, 2]
    assert used(settings) == used(home(tmp_path / "twin", without(person), together=0))


def test_a_shard_without_people_is_nothing(tmp_path: Path) -> None:
    many = {"shards": 64, "epochs": 1, "together": 1}
    settings = home(tmp_path / "other", LOG, **many)
    assert 10 < len(shard_files(settings)) < 24
    person = next(user for user, at in places(settings).items() if at is not None)
    before = len(shard_files(settings))
    forget_in(settings, person)
    unlearn(settings)
    assert len(shard_files(settings)) in {before, before - 1}
    assert used(settings) == used(home(tmp_path / "twin", without(person), **many))


def test_a_held_out_share_that_was_not_asked_for_is_that_of_the_twin(tmp_path: Path) -> None:
    brief = {"held_out": None, "epochs": 1, "together": 1}
    settings = home(tmp_path / "other", LOG, **brief)
    person = someone(settings, 0)
    forget_in(settings, person)
    unlearn(settings)
    assert used(settings) == used(home(tmp_path / "twin", without(person), **brief))


def test_a_part_of_a_person_goes_with_the_shard(settings: Settings, store: SqlStore, epochs: list[int]) -> None:
    person = someone(settings, 2)
    items = frozenset({next(row.item_id for row in LOG if row.user_id == person)})
    before, request = store.lineage(used(settings)), forget_in(settings, person, Selection(items)).request_id
    unlearn(settings)
    assert epochs == [0, 1, 2, 0, 1]
    after = store.lineage(used(settings))
    assert sum(before.values()) - sum(after.values()) == 1 and before.keys() == after.keys()
    assert settled(settings, store) == 1
    record = store.forget_record(request)
    assert record is not None and record.state is ForgetState.COMPLETE


def test_requests_complete_and_their_receipts_say_proven(settings: Settings, store: SqlStore) -> None:
    requests = [forget_in(settings, someone(settings, place)).request_id for place in (0, None)]
    assert settled(settings, store) == 0
    unlearn(settings)
    assert store.debts() == []
    assert settled(settings, store) == 2
    for request in requests:
        record = store.forget_record(request)
        assert record is not None and record.state is ForgetState.COMPLETE
        lines = read_receipt(str(record.receipt))["layers"]
        assert [line["status"] for line in lines if line["layer"] == LayerName.ADAPTER] == [Status.PROVEN]


@pytest.mark.parametrize("damage", ["gone", "other bytes"])
def test_a_damaged_shard_is_trained_again_and_the_progress_says_so(
    settings: Settings, twin: Twin, epochs: list[int], damage: str
) -> None:
    person = someone(settings, 1)
    forget_in(settings, person)
    expected = twin(person)
    kept = shard_files(expected).keys() & shard_files(settings).keys()
    path = AdapterStore(settings.compact).adapters / used(settings) / SHARDS / min(kept)
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-1] + b"?")
    told = Told()
    epochs.clear()
    unlearn(settings, told)
    assert epochs == [0, 1, 2, 0, 1, 2, 0, 1]
    assert sum("is damaged, and is trained again" in stage for stage in told.stages) == 1
    assert used(settings) == used(expected)


@pytest.mark.parametrize("changes", [{"shards": 1}, {"shards": 1, "reserve": 0.0}])
def test_an_adapter_without_shards_is_refused(settings: Settings, changes: dict[str, object]) -> None:
    old = build_compact(settings, trained(IN_SHARDS, **changes)).adapter.digest
    forget_in(settings, someone(settings, 1))
    with pytest.raises(InvalidInput, match=r"compact build --shards 4 --reserve 0\.05.*adapter retrain"):
        unlearn(settings)
    assert used(settings) == old


def test_without_an_adapter_there_is_nothing_to_remove_from(settings: Settings) -> None:
    compact = AdapterStore(settings.compact)
    found = compact.current()
    assert found is not None
    compact.set_current(found.base)
    with pytest.raises(InvalidInput, match="compact build --shards"):
        unlearn(settings)


def test_where_the_whole_reserve_has_gone_a_larger_one_is_asked_for(settings: Settings) -> None:
    for user in [user for user, at in places(settings).items() if at is None]:
        forget_in(settings, user)
    old = used(settings)
    with pytest.raises(InvalidInput, match="larger `--reserve`"):
        unlearn(settings)
    assert used(settings) == old


def test_what_came_after_the_training_is_not_learned(settings: Settings, twin: Twin, epochs: list[int]) -> None:
    person = someone(settings, 1)
    with closing(store_of(settings)) as store:
        store.append([Interaction(user, ITEMS[11].id, 10**6, "like") for user in ("user-5", "somebody new")])
    forget_in(settings, person)
    unlearn(settings)
    assert epochs == [0, 1, 2, 0, 1]
    assert used(settings) == used(twin(person))


def test_a_base_that_knows_more_items_since_changes_no_shard(settings: Settings, twin: Twin, epochs: list[int]) -> None:
    """The adapter serves on: it never knew them."""
    old, person = used(settings), someone(settings, 1)
    with closing(store_of(settings)) as store:
        store.put_items([Item("new", "something else entirely")])
    build(settings)
    extended = build_compact(settings, trained(IN_SHARDS, epochs=1)).base.digest
    AdapterStore(settings.compact).set_current(extended, old)
    before = shard_files(settings)
    forget_in(settings, person)
    epochs.clear()
    unlearn(settings)
    assert epochs == [0, 1, 2, 0, 1]
    expected = twin(person)
    assert len(before.items() & shard_files(settings).items()) == 2
    assert shard_files(settings) == shard_files(expected)


def test_a_later_training_takes_over_what_is_the_same(settings: Settings, epochs: list[int]) -> None:
    forget_in(settings, someone(settings, 0))
    new = retrain(settings)
    assert epochs == [0, 1, 2, 0, 1]
    epochs.clear()
    assert build_compact(settings, IN_SHARDS).adapter.digest == new
    assert epochs == [0, 1]
    assert settings_in_use(AdapterStore(settings.compact), "cpu", 7).adapter.shards == 3


def stop_in(settings: Settings, stage: str, percent: int) -> None:
    with pytest.raises(Stopped):
        unlearn(settings, StopAfter(stage, percent))


def test_killed_between_shards_it_goes_on_after_the_last_that_is_finished(
    settings: Settings, store: SqlStore, twin: Twin, epochs: list[int]
) -> None:
    gone, old, training = [someone(settings, place) for place in (0, 1)], used(settings), settings.compact / "training"
    for person in gone:
        forget_in(settings, person)
    stop_in(settings, "shard 2 of 3", 60)
    assert epochs == [0, 1, 2, 0, 1]
    assert sorted(path.name[:5] for path in training.iterdir()) == ["00000", PART]
    assert (used(settings), settled(settings, store), len(store.debts())) == (old, 0, 2)
    epochs.clear()
    stop_in(settings, "adapter", 40)
    assert epochs == [1, 2, 0]
    epochs.clear()
    unlearn(settings)
    assert epochs == [0, 1]
    assert not training.exists()
    assert used(settings) == used(twin(*gone))
    assert settled(settings, store) == 2


def test_killed_while_all_serve_together_it_goes_on_there(settings: Settings, epochs: list[int]) -> None:
    forget_in(settings, someone(settings, 1))
    stop_in(settings, "adapter", 80)
    epochs.clear()
    unlearn(settings)
    assert epochs == [1]


def test_what_was_finished_before_a_removal_is_destroyed_by_it(
    settings: Settings, twin: Twin, epochs: list[int]
) -> None:
    gone, training = [someone(settings, place) for place in (0, 1)], settings.compact / "training"
    forget_in(settings, gone[0])
    stop_in(settings, "adapter", 40)
    assert list(training.iterdir())
    forget_in(settings, gone[1])
    assert not training.exists() or list(training.iterdir()) == []
    epochs.clear()
    unlearn(settings)
    assert epochs == [0, 1, 2, 0, 1, 2, 0, 1]
    assert used(settings) == used(twin(*gone))


def test_parts_of_another_training_are_destroyed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_in(settings, someone(settings, 1))
    stop_in(settings, "adapter", 40)
    (stale,) = [path.name for path in (settings.compact / "training").glob(f"{PART}*")]
    seen: list[set[str]] = []
    original = Checkpoints.save

    def noted(self: Checkpoints, checkpoint: Checkpoint) -> None:
        original(self, checkpoint)
        seen.append({path.name for path in self.folder.iterdir()})

    monkeypatch.setattr(Checkpoints, "save", noted)
    build_compact(settings, trained(IN_SHARDS, epochs=1))
    assert seen and all(stale not in names for names in seen)


def test_nobody_may_be_forgotten_meanwhile(settings: Settings, store: SqlStore) -> None:
    late = someone(settings, 2)

    class Forgetting(Silent):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
            if name == "sum of the shards":
                forget_in(settings, late)

    old = used(settings)
    forget_in(settings, someone(settings, 1))
    with pytest.raises(Busy, match="run the same command again"):
        unlearn(settings, Forgetting())
    assert (used(settings), len(store.debts())) == (old, 2)
    assert not (settings.compact / "training").exists()
    unlearn(settings)
    assert (store.debts(), settled(settings, store)) == ([], 2)


@pytest.mark.parametrize("crash", [crash_at_lineage, crash_at_use])
def test_a_crash_before_it_is_in_use_leaves_the_request_open(
    settings: Settings, store: SqlStore, monkeypatch: pytest.MonkeyPatch, crash: Callable[[pytest.MonkeyPatch], None]
) -> None:
    old = used(settings)
    forget_in(settings, someone(settings, 1))
    with monkeypatch.context() as patched:
        crash(patched)
        patched.setattr(Publisher, "_tidy", lambda _: None)  # killed: nothing is tidied
        with pytest.raises(Stopped):
            unlearn(settings)
    assert (used(settings), settled(settings, store)) == (old, 0)
    destroy_unused(AdapterStore(settings.compact), store)
    new = unlearn(settings)
    assert used(settings) == new != old
    assert settled(settings, store) == 1


def test_without_shards_a_manifest_is_as_it_was(settings: Settings) -> None:
    manifest = build_compact(settings, QUICK).adapter.manifest
    assert not {"shards", "together"} & manifest.settings.keys()
    assert settings_in_use(AdapterStore(settings.compact), "cpu", 7).adapter.shards == AdapterSettings().shards == 1


def test_a_removal_that_is_not_exact_keeps_no_shard_and_the_next_exact_one_proves_it(
    settings: Settings, store: SqlStore, twin: Twin, epochs: list[int]
) -> None:
    gone, builder = [someone(settings, place) for place in (0, 1)], builder_of(settings, store)
    requests = [forget_in(settings, gone[0]).request_id]
    with occupied(settings, store) as place:
        remainder = Remainder.read(builder)
        publisher, measured = builder.publisher(place), dict.fromkeys(requests, MEASURED)
        remainder.replace(publisher, remainder.deltas(), remainder.stop, measured)
    assert not (AdapterStore(settings.compact).adapters / used(settings) / SHARDS).exists()
    requests.append(forget_in(settings, gone[1]).request_id)
    unlearn(settings)
    assert epochs == [0, 1, 2] * 3 + [0, 1]
    assert (store.measured_removals(), settled(settings, store)) == ([], 2)
    assert used(settings) == used(twin(*gone))


def test_an_audit_has_no_references_for_an_adapter_of_shards(settings: Settings, store: SqlStore) -> None:
    with pytest.raises(InvalidInput, match="--shards 1"):
        AdapterAudit(builder_of(settings, store), 5, 0).report()
