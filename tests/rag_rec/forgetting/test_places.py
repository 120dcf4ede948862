"""Several data folders on one store: none is called clean before it has looked at its own files."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from rag_rec.engine.engine import Engine
from rag_rec.engine.system import open_system
from rag_rec.engine.tending import open_saga
from rag_rec.errors import Busy, CopiedFolder, ForeignFolder, InvalidInput, UnknownPlace
from rag_rec.forgetting.receipts.document import check_receipt, read_receipt
from rag_rec.forgetting.request import ForgetOutcome
from rag_rec.forgetting.retirement import retire_place
from rag_rec.home.keys import open_pseudonyms, open_signer
from rag_rec.home.opening import store_of
from rag_rec.layers.finding import LayerName, Status
from rag_rec.places.folder import FILE, holds_people, read_identity
from rag_rec.places.occupation import Occupation
from rag_rec.settings import Settings
from rag_rec.store.records import Place
from tests.homes import build, engine_of, fill
from tests.rag_rec.forgetting.asking import confirmed
from tests.rag_rec.forgetting.homes import CANARY, log, number_of, vectors_of
from tests.rag_rec.store.conftest import new_database

from rag_rec.forgetting.request import ForgetRequest  # isort: skip


class Two:
    """Two data folders on one store, both with an index that holds the canary."""

    def __init__(self, first: Settings, second: Settings) -> None:
        self.first, self.second = first, second
        fill(first, log())
        open_signer(first)
        shutil.copytree(first.keys, second.keys)
        build(first)
        build(second)
        with closing(engine_of(first)) as engine:
            self.number = number_of(engine.store, CANARY)
            self.vectors = vectors_of(engine, CANARY)

    def traces(self, settings: Settings) -> list[str]:
        """The files under a home's index that hold a vector of the canary, byte by byte."""
        files = [path for path in settings.generations.rglob("*") if path.is_file()]
        return [path.name for path in files if any(vector in path.read_bytes() for vector in self.vectors)]


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Two:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    else:
        url = new_database(request.getfixturevalue("postgres_server"))
    shared = {"store_url": url, "interest_clusters": 4, "candidates": 10, "replica_wait_ms": 0}
    return Two(*(Settings.model_validate({"home": tmp_path / name, **shared}) for name in ("first", "second")))


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def serving(stack: ExitStack, settings: Settings) -> Engine:
    engine = stack.enter_context(closing(engine_of(settings)))
    engine.attendance.join()
    return engine


def forget(engine: Engine) -> ForgetOutcome:
    return engine.officer.forget(confirmed(engine.officer, ForgetRequest.of(CANARY)))


def layer(engine: Engine, request_id: str, wanted: LayerName) -> dict[str, object]:
    lines = read_receipt(engine.officer.receipt(request_id))["layers"]
    return next(dict(line) for line in lines if line["layer"] == wanted)


def test_a_folder_that_is_down_keeps_the_receipt_open_until_it_is_back_and_clean(two: Two, opened: ExitStack) -> None:
    assert two.traces(two.first) and two.traces(two.second)
    engine = serving(opened, two.first)
    outcome = forget(engine)
    assert two.traces(two.first) == []
    assert two.traces(two.second) != []
    assert outcome.state == "hidden"
    for wanted in (LayerName.INDICES, LayerName.TEMPORARY, LayerName.ADAPTER):
        line = layer(engine, outcome.request_id, wanted)
        assert line["status"] == Status.PENDING
        assert ":second" in str(line["why"])
    assert not check_receipt(engine.officer.receipt(outcome.request_id), open_signer(two.first).verifier).complete
    engine.refresh()
    assert layer(engine, outcome.request_id, LayerName.INDICES)["status"] == Status.PENDING
    with closing(engine_of(two.second)) as other:
        assert two.traces(two.second) == []  # before it could serve anybody
        assert not other.live.holds(two.number)
        assert other.store.forget_record(outcome.request_id).state == "complete"  # type: ignore[union-attr]
    assert layer(engine, outcome.request_id, LayerName.INDICES)["status"] == Status.PROVEN
    assert check_receipt(engine.officer.receipt(outcome.request_id), open_signer(two.first).verifier).complete


def test_the_service_that_remained_closes_the_request_when_the_other_folder_was_cleaned(
    two: Two, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = serving(opened, two.first)
    outcome = forget(engine)
    with monkeypatch.context() as patched:
        patched.setattr("rag_rec.forgetting.saga.Saga.resume", lambda _: 0)  # it is killed before it gets there
        engine_of(two.second).close()
    assert two.traces(two.second) == []
    assert engine.store.forget_record(outcome.request_id).state == "hidden"  # type: ignore[union-attr]
    engine.refresh()
    assert engine.store.forget_record(outcome.request_id).state == "complete"  # type: ignore[union-attr]


def test_a_command_closes_the_request_when_the_other_folder_was_cleaned(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(store_of(two.first)) as store:
        saga = open_saga(two.first, store)
        plan = saga.plan(ForgetRequest.of(CANARY)).plan
        outcome = saga.forget(ForgetRequest.of(CANARY, confirm=CANARY, plan=plan))
        assert outcome.state == "hidden"
        assert open_saga(two.first, store).resume() == 0
        with monkeypatch.context() as patched:
            patched.setattr("rag_rec.forgetting.saga.Saga.resume", lambda _: 0)
            engine_of(two.second).close()
        assert open_saga(two.first, store).resume() == 1


def test_a_folder_that_serves_cleans_itself_at_a_refresh(two: Two, opened: ExitStack) -> None:
    first, second = serving(opened, two.first), serving(opened, two.second)
    outcome = forget(first)
    assert two.traces(two.second) != []
    second.refresh()
    assert two.traces(two.second) == []
    first.refresh()
    assert first.store.forget_record(outcome.request_id).state == "complete"  # type: ignore[union-attr]
    assert [place.epoch for place in first.store.places()] == [first.store.erasure_epoch()] * 2


def test_everybody_who_was_forgotten_meanwhile_is_looked_for(two: Two, opened: ExitStack) -> None:
    engine = serving(opened, two.first)
    requests = [
        engine.officer.forget(confirmed(engine.officer, ForgetRequest.of(name)))
        for name in (CANARY, "user-0", "user-1")
    ]
    engine_of(two.second).close()
    engine.refresh()
    states = {engine.store.forget_record(each.request_id).state for each in requests}  # type: ignore[union-attr]
    assert states == {"complete"}
    assert two.traces(two.second) == []


def test_two_processes_on_one_folder_are_one_place(two: Two, opened: ExitStack) -> None:
    one, other = serving(opened, two.first), serving(opened, two.first)
    engine_of(two.second).close()
    assert len(one.store.places()) == 2
    other.close()
    assert [place.seen > 0 for place in one.store.places() if place.path.endswith("first")] == [True]


def test_a_folder_of_the_store_alone_is_not_waited_for(two: Two, tmp_path: Path) -> None:
    officer = two.first.model_copy(update={"home": tmp_path / "officer"})
    shutil.copytree(two.first.keys, officer.keys)
    with closing(store_of(officer)) as store:
        open_saga(officer, store).resume()
        assert len(store.places()) == 2
    assert not (officer.home / FILE).exists()


def test_a_copied_folder_is_noticed_and_gets_an_identity_of_its_own(
    two: Two, tmp_path: Path, opened: ExitStack
) -> None:
    serving(opened, two.first)
    copy = two.first.model_copy(update={"home": tmp_path / "copy"})
    shutil.copytree(two.first.home, copy.home)
    with pytest.raises(CopiedFolder, match="place renew"):
        engine_of(copy)
    (copy.home / FILE).unlink()
    engine_of(copy).close()
    with closing(store_of(copy)) as store:
        assert len(store.places()) == 3


def test_a_moved_folder_is_the_same_place(two: Two, tmp_path: Path) -> None:
    moved = two.first.model_copy(update={"home": tmp_path / "moved"})
    two.first.home.rename(moved.home)
    with closing(engine_of(moved)) as engine:
        assert sorted(place.name.partition(":")[2] for place in engine.store.places()) == ["moved", "second"]


def test_a_folder_of_another_store_is_refused(two: Two, tmp_path: Path) -> None:
    other = two.first.model_copy(update={"store_url": f"sqlite:///{tmp_path / 'other.sqlite3'}"})
    with closing(store_of(other)) as store, pytest.raises(ForeignFolder, match="another store"):
        Occupation(other, store)


def test_a_retired_place_is_waited_for_no_more_and_named(two: Two, opened: ExitStack) -> None:
    engine = serving(opened, two.first)
    outcome = forget(engine)
    system = open_system(two.first, engine.store, open_pseudonyms(two.first))
    (second,) = [place for place in engine.store.places() if place.path.endswith("second")]
    with pytest.raises(InvalidInput):
        retire_place(system, second.id, " ")
    with pytest.raises(UnknownPlace):
        retire_place(system, "nowhere", "gone")
    retire_place(system, second.id, "the disk was shredded")
    engine.refresh()
    line = layer(engine, outcome.request_id, LayerName.INDICES)
    assert line["status"] == Status.OUT_OF_SCOPE
    assert "the disk was shredded" in str(line["why"])
    assert engine.store.forget_record(outcome.request_id).state == "complete"  # type: ignore[union-attr]
    assert "retirement" in [entry.kind for entry in engine.store.ledger()]
    later = engine.officer.forget(confirmed(engine.officer, ForgetRequest.of("user-0")))
    assert later.state == "complete"
    # The disk is back after all: under another identity, and clean.
    with closing(engine_of(two.second)):
        assert two.traces(two.second) == []
        assert len(engine.store.places()) == 3


def test_a_place_that_is_open_cannot_be_retired(two: Two, opened: ExitStack) -> None:
    engine = serving(opened, two.first)
    system = open_system(two.first, engine.store, open_pseudonyms(two.first))
    (own,) = [place for place in engine.store.places() if place.path.endswith("first")]
    with pytest.raises(Busy):
        retire_place(system, own.id, "gone")


def test_a_folder_of_an_earlier_version_becomes_a_place_when_it_is_opened(two: Two, opened: ExitStack) -> None:
    known = read_identity(two.second.home)
    assert known is not None
    (two.second.home / FILE).unlink()  # as an earlier version left it
    assert holds_people(two.second)
    engine = serving(opened, two.first)
    retire_place(
        open_system(two.first, engine.store, open_pseudonyms(two.first)), known.place, "another test"
    )  # it is not on the list
    forget(engine)
    assert two.traces(two.second) != []
    engine_of(two.second).close()
    assert two.traces(two.second) == []
    assert stat.S_IMODE((two.second.home / FILE).stat().st_mode) == 0o600


def test_a_folder_that_was_put_back_to_an_earlier_state_is_cleaned_again(
    two: Two, tmp_path: Path, opened: ExitStack
) -> None:
    shutil.copytree(two.second.home, tmp_path / "snapshot")
    engine = serving(opened, two.first)
    forget(engine)
    engine_of(two.second).close()
    engine.refresh()
    shutil.rmtree(two.second.home)
    shutil.copytree(tmp_path / "snapshot", two.second.home)
    assert two.traces(two.second) != []
    engine_of(two.second).close()
    assert two.traces(two.second) == []


def test_what_a_place_is_called() -> None:
    assert Place("p", "web-1/ab12", "/data/rag-rec/", 0, 0).name == "web-1:rag-rec"
