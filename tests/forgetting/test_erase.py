from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.compact.checkpoint import Checkpoint, Checkpoints, TrainingState
from rag_rec.compact.folder import CompactStore
from rag_rec.domain import Interaction, RecommendationRequest
from rag_rec.engine import Engine
from rag_rec.errors import ConfirmationRequired, InvalidInput, UnknownRequest, UnknownUser
from rag_rec.forgetting.erase import Eraser
from rag_rec.forgetting.files import vectors_in_files
from rag_rec.forgetting.request import ForgetRequest
from rag_rec.generation import Generations
from rag_rec.store import open_store
from rag_rec.store.protocol import Selection, Store
from tests.homes import ITEMS, build, engine_of, fill, running, settings_for

DAY = 86_400_000
CANARY = "canary-7f3a9c"
CANARY_TEXT = "unmistakable words of a person who leaves"


def log() -> list[Interaction]:
    others = [
        Interaction(f"user-{u}", ITEMS[(u + n) % len(ITEMS)].id, (100 + n) * DAY, "like")
        for u in range(5)
        for n in range(5)
    ]
    own = [
        Interaction(CANARY, ITEMS[n].id, (200 + n) * DAY, "like", text=f"{CANARY_TEXT} {n}" if n % 2 else None)
        for n in range(6)
    ]
    return [*others, *own]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


def bytes_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def number_of(store: Store, user_id: str) -> int:
    found = store.user(user_id)
    assert found is not None
    return found[0]


def vectors_of(engine: Engine, user_id: str) -> list[bytes]:
    """The stored codes of a user's own vectors and profile, as they lie in files (half precision)."""
    number = number_of(engine.store, user_id)
    profile = engine.live.people.profile(number)
    assert profile is not None
    own = engine.live.people.own_vectors(number).values()
    return [profile.astype("float16").tobytes(), *(vector.astype("float16").tobytes() for vector in own)]


def test_nothing_of_a_forgotten_user_is_left_in_any_file(engine: Engine) -> None:
    home = engine.settings.home
    traces = [CANARY.encode(), CANARY_TEXT.encode(), *vectors_of(engine, CANARY)]
    before = bytes_under(home)
    assert all(trace in before for trace in traces)
    outcome = engine.forget(ForgetRequest(CANARY, confirm=CANARY))
    after = bytes_under(home)
    assert [trace for trace in traces if trace in after] == []
    assert outcome.state == "complete"
    assert outcome.removed == {"users": 1, "interactions": 6, "index_files": 2}


def test_nothing_of_forgotten_interactions_is_left_and_the_rest_is_isolated_again(engine: Engine) -> None:
    number = number_of(engine.store, CANARY)
    forgotten = frozenset({ITEMS[1].id, ITEMS[3].id})
    old = vectors_of(engine, CANARY)
    engine.forget(ForgetRequest(CANARY, Selection(item_ids=forgotten), confirm=CANARY))
    after = bytes_under(engine.settings.home)
    assert f"{CANARY_TEXT} 1".encode() not in after
    assert f"{CANARY_TEXT} 5".encode() in after
    assert old[0] not in after
    history, vectors = engine.live.people.recall(number)
    assert len(history) == len(vectors) == 4
    _, rows = engine.export(CANARY)
    assert {row.item_id for row in rows} == {item.id for item in ITEMS[:6]} - forgotten


def test_a_forgotten_user_is_a_stranger_at_once(engine: Engine) -> None:
    engine.forget(ForgetRequest(CANARY, confirm=CANARY))
    answer = engine.recommend(RecommendationRequest(CANARY, k=3))
    assert not answer.provenance.known_user
    assert answer.provenance.epoch == engine.store.epoch()
    assert all(not item.reasons for item in answer.items)
    with pytest.raises(UnknownUser):
        engine.export(CANARY)
    with pytest.raises(UnknownUser):
        engine.forget(ForgetRequest(CANARY, confirm=CANARY))


def test_a_running_engine_sees_at_once_what_another_process_forgot(engine: Engine) -> None:
    store = open_store(engine.settings.database_url)
    Eraser(store, engine.generations).forget(ForgetRequest(CANARY, confirm=CANARY))
    store.close()
    answer = engine.recommend(RecommendationRequest("user-1", k=3))
    assert answer.provenance.epoch == engine.store.epoch()
    assert len(engine.live.people) == 5
    assert engine.refresh()
    assert engine.live.generation.id == engine.generations.current_id()


def test_a_dry_run_changes_nothing(engine: Engine) -> None:
    before = bytes_under(engine.settings.home)
    outcome = engine.forget(ForgetRequest(CANARY, dry_run=True))
    assert outcome.removed == {"users": 1, "interactions": 6, "index_files": 2}
    assert outcome.request_id is None
    assert bytes_under(engine.settings.home) == before
    assert engine.recommend(RecommendationRequest(CANARY)).provenance.known_user


@pytest.mark.parametrize("confirm", [None, "", "user-1", CANARY.upper()])
def test_without_the_right_confirmation_nothing_happens(engine: Engine, confirm: str | None) -> None:
    with pytest.raises(ConfirmationRequired):
        engine.forget(ForgetRequest(CANARY, confirm=confirm))
    assert engine.recommend(RecommendationRequest(CANARY)).provenance.known_user


def test_a_selection_of_nothing_is_refused(engine: Engine) -> None:
    with pytest.raises(InvalidInput, match="names none"):
        engine.forget(ForgetRequest(CANARY, Selection(), confirm=CANARY))


def test_a_request_is_kept_without_naming_anybody(engine: Engine) -> None:
    outcome = engine.forget(ForgetRequest(CANARY, confirm=CANARY))
    assert outcome.request_id is not None
    record = engine.forget_status(outcome.request_id)
    assert (record.state, record.scope, record.removed) == ("complete", "user", outcome.removed)
    assert CANARY not in repr(record)
    with pytest.raises(UnknownRequest):
        engine.forget_status("0" * 32)


def test_a_removal_cut_short_before_the_files_is_finished_on_opening(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    build(settings)
    store = open_store(settings.database_url)
    number = number_of(store, CANARY)
    store.delete_user(number)
    store.scrub()
    store.close()
    engine = engine_of(settings)
    assert vectors_in_files(engine.generations, number) == []
    engine.generations.verify(engine.generations.current())
    engine.close()


def test_a_selection_that_meets_nothing_leaves_the_index_as_it_is(engine: Engine) -> None:
    engine.add_interactions("user-1", [Interaction("user-1", ITEMS[11].id, 300 * DAY, "like")])
    generation = engine.generations.current_id()
    nothing = Selection(item_ids=frozenset({ITEMS[11].id}))
    outcome = engine.forget(ForgetRequest(CANARY, nothing, confirm=CANARY))
    assert outcome.removed == {"users": 0, "interactions": 0, "index_files": 0}
    assert engine.generations.current_id() == generation
    again = engine_of(engine.settings)
    assert len(again.live.people.history(number_of(again.store, CANARY))) == 6
    again.close()


def test_a_newer_generation_keeps_what_a_partly_forgotten_user_kept(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    older = build(settings)
    store = open_store(settings.database_url)
    generations = Generations(settings.generations)
    forgotten = Selection(item_ids=frozenset({ITEMS[1].id}))
    Eraser(store, generations).forget(ForgetRequest(CANARY, forgotten, confirm=CANARY))
    number = number_of(store, CANARY)
    assert vectors_in_files(generations, number) == []
    newer = build(settings)
    assert older.manifest.epoch < newer.manifest.epoch == store.epoch()
    assert len(generations.names()) == 2
    engine = engine_of(settings)
    assert len(vectors_in_files(generations, number)) == 2
    assert len(engine.live.people.history(number)) == 5
    engine.close()
    store.close()


def test_forgetting_works_before_there_is_an_index(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, log())
    engine_store = open_store(settings.database_url)
    outcome = Eraser(engine_store, Generations(settings.generations)).forget(ForgetRequest(CANARY, confirm=CANARY))
    assert outcome.removed == {"users": 1, "interactions": 6, "index_files": 0}
    engine_store.close()


def test_a_crash_leaves_no_checkpoint_that_learned_from_the_person(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact = CompactStore(engine.settings.compact)
    Checkpoints(compact.training, "key").save(Checkpoint(TrainingState(1, 0.5, {}), engine.store.epoch()))

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("rag_rec.forgetting.erase.erase_from_files", killed)
    with pytest.raises(KeyboardInterrupt):
        engine.forget(ForgetRequest(CANARY, confirm=CANARY))
    assert not compact.training.exists()
