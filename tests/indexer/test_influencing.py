"""Removal by influence in a whole system: requests wait, people leave the adapter, receipts say what is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.influencing import STIFFER, Influence, Step
from indexer.remainder import Remainder
from rag_rec.adapters.folder import AdapterStore
from rag_rec.adapters.measured import read_measured
from rag_rec.adapters.publishing import Publisher
from rag_rec.adapters.removal import destroy_unused, waiting
from rag_rec.compact.adapter import WEIGHTS
from rag_rec.compact.people import People
from rag_rec.compact.reading import likelihoods
from rag_rec.compact.sequences import TokenSequence
from rag_rec.compact.stop import Stop
from rag_rec.domain import Interaction
from rag_rec.engine.tending import open_saga
from rag_rec.errors import Busy, InvalidInput
from rag_rec.forgetting.receipts.document import read_receipt
from rag_rec.home.opening import store_of
from rag_rec.influence.curvature import total_gradient
from rag_rec.influence.vectors import add, norm, scaled
from rag_rec.layers.finding import LayerName, Status
from rag_rec.layers.records import ForgetState
from rag_rec.progress.protocol import Progress, Silent
from rag_rec.settings import Settings
from rag_rec.store import SqlStore
from rag_rec.store.records import Selection
from tests.homes import ITEMS
from tests.indexer.compact_homes import Stopped, build_compact, retrain, trained
from tests.indexer.crashes import crash_at_lineage, crash_at_use
from tests.indexer.memorised_homes import BY_HEART, builder_of, copied, memorised_home
from tests.rag_rec.forgetting.asking import forget_in


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Made once; every test has a copy."""
    return memorised_home(tmp_path_factory.mktemp("made") / "home")


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


def unlearn(settings: Settings, store: SqlStore, damping: float | None = None, progress: Progress | None = None) -> str:
    """With the usual damping unless told: a stiffer step forgets too little, a softer one costs others too much."""
    requests = waiting(AdapterStore(settings.compact), store)
    return Influence(builder_of(settings, store, progress), damping).remove(requests)


def settle(settings: Settings, store: SqlStore) -> int:
    return open_saga(settings, store).settle()


def adapter_line(store: SqlStore, request: str) -> dict[str, object]:
    """What the receipt says of the adapter."""
    record = store.forget_record(request)
    assert record is not None and record.receipt is not None
    lines = read_receipt(record.receipt)["layers"]
    (line,) = [line for line in lines if line["layer"] == LayerName.ADAPTER]
    return dict(line)


def test_the_forgotten_leave_the_adapter_and_their_receipts_say_what_was_measured(
    settings: Settings, store: SqlStore
) -> None:
    old, compact = used(settings), AdapterStore(settings.compact)
    requests = sorted(forget_in(settings, user).request_id for user in ("user-2", "user-8"))
    assert settle(settings, store) == 0
    new = unlearn(settings, store)
    assert used(settings) == new != old
    assert compact.adapter_digests() == [new]
    assert store.debts() == []
    assert [(each.request_id, each.adapter) for each in store.measured_removals()] == [(r, new) for r in requests]
    assert settle(settings, store) == 2
    for request in requests:
        line = adapter_line(store, request)
        assert line["status"] == Status.MEASURED
        assert "suppresses the person, by a removal that is not exact (influence)" in str(line["why"])
        detail = line["detail"]
        assert isinstance(detail, dict)
        assert detail["low"] <= 0.5 <= detail["high"] and detail["auc"] < detail["auc_before"]
        assert (detail["adapter"], detail["removed"], detail["stand_ins"], detail["reserve"]) == (new, 2, 20, 35)
        record = store.forget_record(request)
        assert record is not None and record.state is ForgetState.COMPLETE


def test_what_was_learned_of_them_goes_and_the_lineage_follows(settings: Settings, store: SqlStore) -> None:
    builder = builder_of(settings, store)
    vocabulary, people = Remainder.read(builder).base.vocabulary, People.read(store, settings.positive_rule, 12)
    known = dict(people.positives)
    gone = [number for number, seen in store.lineage(used(settings)).items() if seen == len(known[number])][:4]
    written = [TokenSequence(np.array([0]), vocabulary.first_item + known[number]) for number in gone]

    def likelihood() -> float:
        from benchmarks.methods.compact_model import Trained  # noqa: PLC0415 - merges an adapter into its base

        remainder = Remainder.read(builder_of(settings, store))
        model = Trained(remainder.base, remainder.deltas(), 0.0).model()
        return float(likelihoods(model, vocabulary, written, 16).mean())

    before = likelihood()
    for number in gone:
        person = store.user_by_number(number)
        assert person is not None
        forget_in(settings, person.id)
    new = unlearn(settings, store)
    suppressed = likelihood()
    assert not set(gone) & store.lineage(new).keys()
    retrain(settings)
    retrained = likelihood()
    assert before - suppressed > 0.5 * (before - retrained) > 0.05


def test_those_who_leave_later_stand_beside_those_who_left_before(settings: Settings, store: SqlStore) -> None:
    first = forget_in(settings, "user-2").request_id
    unlearn(settings, store)
    second = forget_in(settings, "user-8").request_id
    assert waiting(AdapterStore(settings.compact), store) == [second]
    new = unlearn(settings, store)
    told = read_measured(AdapterStore(settings.compact).adapters / new)
    assert {request: each.removed for request, each in told.items()} == {first: 1, second: 2}
    assert len({each.learned for each in told.values()}) == 1
    assert settle(settings, store) == 2
    assert adapter_line(store, first)["status"] == adapter_line(store, second)["status"] == Status.MEASURED


def test_the_new_adapter_keeps_the_gradient_of_those_who_remain(settings: Settings, store: SqlStore) -> None:
    trained = Remainder.read(builder_of(settings, store))
    forget_in(settings, "user-2")
    unlearn(settings, store)
    left = Remainder.read(builder_of(settings, store))
    samples, deltas = left.samples(left.learned()), left.deltas()
    expected = scaled(total_gradient(deltas, samples), 1.0 / len(left.learned()))
    assert norm(add(left.stop.gradient, expected, -1.0)) < 1e-4 * norm(expected)
    assert norm(add(left.stop.gradient, trained.stop.gradient, -1.0)) > 1e-2 * norm(expected)
    assert left.stop.windows == len(left.learned()) == trained.stop.windows - 1


def test_a_step_is_as_long_as_the_windows_that_remain(settings: Settings, store: SqlStore) -> None:
    remainder = Remainder.read(builder_of(settings, store))
    step, before = Step.at(remainder), remainder.stop.windows
    alike = replace(step, remainder=replace(remainder, stop=Stop(remainder.stop.gradient, before // 2)))
    short, whole = (each.without(each.rest, before // 2) for each in (step, alike))
    length = (before // 2 / before) ** 0.4
    assert norm(add(short, scaled(whole, length), -1.0)) < 1e-4 * norm(whole)


def test_a_training_proves_what_was_only_suppressed(settings: Settings, store: SqlStore) -> None:
    request = forget_in(settings, "user-2").request_id
    unlearn(settings, store)
    new = retrain(settings)
    assert AdapterStore(settings.compact).adapter_digests() == [new]
    assert store.measured_removals() == []
    assert settle(settings, store) == 1
    assert adapter_line(store, request)["status"] == Status.PROVEN


@pytest.mark.parametrize(("damping", "why"), [(10.0, "still finds"), (1e-6, "nats less likely")])
def test_a_trial_that_fails_changes_nothing(settings: Settings, store: SqlStore, damping: float, why: str) -> None:
    old = used(settings)
    forget_in(settings, "user-2")
    with pytest.raises(InvalidInput, match=f"nothing has changed: .*{why}.*adapter retrain"):
        unlearn(settings, store, damping)
    assert used(settings) == old
    assert {debt.adapter for debt in store.debts()} == {old}
    assert settle(settings, store) == 0


def test_a_step_that_goes_too_far_on_trial_is_damped_more(settings: Settings, store: SqlStore) -> None:
    forget_in(settings, "user-2")
    far = Step.at(Remainder.read(builder_of(settings, store)), damping=1e-5)
    assert far.on_trial(1, "influence").went_too_far
    step, measured = replace(far, trials=8).tried(1, "influence")
    assert measured.problem is None
    assert step.damping > far.damping
    before = replace(step, damping=step.damping / STIFFER)
    assert before.on_trial(1, "influence").went_too_far
    _, kept = far.tried(1, "influence")
    assert kept.went_too_far


def test_a_solve_that_diverges_changes_nothing(settings: Settings, store: SqlStore) -> None:
    old = used(settings)
    forget_in(settings, "user-2")
    with pytest.raises(InvalidInput, match="damping"):
        unlearn(settings, store, -1.0)
    assert (used(settings), len(store.debts())) == (old, 1)


def test_an_adapter_that_keeps_nothing_cannot_be_mended(settings: Settings, store: SqlStore) -> None:
    old = build_compact(settings, trained(BY_HEART, reserve=0.0)).adapter.digest
    forget_in(settings, "user-2")
    with pytest.raises(InvalidInput, match="build --reserve"):
        unlearn(settings, store)
    assert used(settings) == old


def test_without_enough_people_nothing_can_be_measured(settings: Settings, store: SqlStore) -> None:
    for reserve, why in ((0.05, "larger `--reserve`"), (0.45, "people remain")):
        old = build_compact(settings, trained(BY_HEART, reserve=reserve, epochs=1)).adapter.digest
        for user in list(store.lineage(old))[: 60 if reserve > 0.4 else 1]:
            person = store.user_by_number(user)
            assert person is not None
            forget_in(settings, person.id)
        with pytest.raises(InvalidInput, match=why):
            unlearn(settings, store)
        assert used(settings) == old


@pytest.mark.parametrize("stage", ["trial", "remove", "what a removal needs"])
def test_a_removal_that_is_killed_has_changed_nothing_and_comes_out_the_same(
    made: Settings, settings: Settings, store: SqlStore, tmp_path: Path, stage: str
) -> None:
    class Killed(Silent):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
            if name == stage:
                raise Stopped

    old = used(settings)
    forget_in(settings, "user-2")
    with pytest.raises(Stopped):
        unlearn(settings, store, progress=Killed())
    assert (used(settings), len(store.debts())) == (old, 1)
    other = copied(made, tmp_path / "other")
    forget_in(other, "user-2")
    weights = []
    for each in (settings, other):
        with closing(store_of(each)) as here:
            weights.append((AdapterStore(each.compact).adapters / unlearn(each, here) / WEIGHTS).read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("crash", [crash_at_lineage, crash_at_use])
def test_a_crash_before_it_is_in_use_leaves_the_request_open(
    settings: Settings, store: SqlStore, monkeypatch: pytest.MonkeyPatch, crash: Callable[[pytest.MonkeyPatch], None]
) -> None:
    old, compact = used(settings), AdapterStore(settings.compact)
    request = forget_in(settings, "user-2").request_id
    with monkeypatch.context() as patched:
        crash(patched)
        patched.setattr(Publisher, "_tidy", lambda _: None)  # killed: nothing is tidied
        with pytest.raises(Stopped):
            unlearn(settings, store)
    assert used(settings) == old
    assert len(compact.adapter_digests()) == 2
    assert settle(settings, store) == 0
    destroy_unused(compact, store)
    assert compact.adapter_digests() == [old]
    assert store.measured_removals() == []
    new = unlearn(settings, store)
    assert settle(settings, store) == 1
    assert (used(settings), adapter_line(store, request)["status"]) == (new, Status.MEASURED)


def test_a_full_disk_changes_nothing(settings: Settings, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    old = used(settings)
    forget_in(settings, "user-2")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("indexer.learned.write_stop", full)
        with pytest.raises(OSError, match="No space"):
            unlearn(settings, store)
    assert used(settings) == old
    assert settle(settings, store) == 0
    unlearn(settings, store)
    assert settle(settings, store) == 1


def test_nobody_may_be_forgotten_meanwhile(settings: Settings, store: SqlStore) -> None:
    class Forgetting(Silent):
        def stage(self, name: str, total: int) -> None:  # noqa: ARG002 - the seam's signature
            if name == "remove":
                forget_in(settings, "user-8")

    old = used(settings)
    forget_in(settings, "user-2")
    with pytest.raises(Busy, match="run the same command again"):
        unlearn(settings, store, progress=Forgetting())
    assert (used(settings), len(store.debts())) == (old, 2)


def test_a_request_that_came_before_the_people_were_read_is_not_passed_over(
    settings: Settings, store: SqlStore
) -> None:
    """Its receipt would say PROVEN of a person who was only suppressed."""
    old = used(settings)
    planned = [forget_in(settings, "user-2").request_id]
    late = forget_in(settings, "user-8").request_id
    with pytest.raises(Busy, match="run the same command again"):
        Influence(builder_of(settings, store)).remove(planned)
    assert (used(settings), len(store.debts())) == (old, 2)
    unlearn(settings, store)
    assert settle(settings, store) == 2
    assert adapter_line(store, late)["status"] == Status.MEASURED


def test_what_came_after_the_training_is_not_learned(
    made: Settings, settings: Settings, store: SqlStore, tmp_path: Path
) -> None:
    later = [Interaction(f"user-{user}", ITEMS[11].id, 10**6, "like") for user in range(40, 60)]
    other = copied(made, tmp_path / "other")
    with closing(store_of(other)) as there:
        there.append([*later, Interaction("somebody new", ITEMS[2].id, 10**6, "like")])
        forget_in(settings, "user-2")
        forget_in(other, "user-2")
        weights = [
            (AdapterStore(each.compact).adapters / unlearn(each, here) / WEIGHTS).read_bytes()
            for each, here in ((settings, store), (other, there))
        ]
        assert weights[0] == weights[1]
        assert store.lineage(used(settings)) == there.lineage(used(other))


def test_a_part_of_a_person_goes_as_well(settings: Settings, store: SqlStore) -> None:
    lineage = store.lineage(used(settings))
    number = next(iter(lineage))
    person = store.user_by_number(number)
    assert person is not None
    items = frozenset(each.interaction.item_id for each in store.interactions(number)[:2])
    request = forget_in(settings, person.id, Selection(items)).request_id
    new = unlearn(settings, store)
    assert store.lineage(new)[number] == lineage[number] - 2
    assert settle(settings, store) == 1
    assert "suppresses the interactions that were to go" in str(adapter_line(store, request)["why"])


def test_another_data_folder_knows_of_it_too(settings: Settings, store: SqlStore, tmp_path: Path) -> None:
    """The adapter lies in one folder; a receipt may be written from any that shares the store."""
    request = forget_in(settings, "user-2").request_id
    unlearn(settings, store)
    elsewhere = settings.model_copy(update={"compact_folder": tmp_path / "none"})
    from rag_rec.adapters.layer import AdapterFindings  # noqa: PLC0415 - of one test

    record = store.forget_record(request)
    assert record is not None
    found = AdapterFindings(store, AdapterStore(tmp_path / "none"), elsewhere).of(record)
    assert found.status is Status.MEASURED
