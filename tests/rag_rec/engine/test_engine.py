from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rag_rec.domain import Interaction, Item, Recommendation, RecommendationRequest, Source, Strategy, User
from rag_rec.engine.engine import Engine
from rag_rec.errors import CorruptIndex, InvalidInput, NotReady, UnknownItem
from rag_rec.generators.passthrough import Passthrough
from rag_rec.recommend.pipeline import Recommender
from rag_rec.recommend.source import FixedRanking
from rag_rec.store import open_store
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, build, engine_of, fill, running, settings_for
from tests.rag_rec.forgetting.asking import forget

DAY = 86_400_000


def likes(user: str, *items: int, start: int = 100) -> list[Interaction]:
    return [Interaction(user, ITEMS[item].id, (start + n) * DAY, "like") for n, item in enumerate(items)]


LOG = [
    *likes("ann", 0, 1, 2),
    *likes("ben", 0, 1, 2, 3),
    *likes("cleo", 1, 2, 3),
    *likes("dan", 8, 9),
    Interaction("eve", ITEMS[5].id, 100 * DAY, "rating", 1.0),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", LOG)
    yield engine
    engine.close()


def items_of(engine: Engine, user: str, **fields: object) -> list[str]:
    answer = engine.recommend(RecommendationRequest(user, **{"k": 12, **fields}))  # type: ignore[arg-type]
    return [item.item_id for item in answer.items]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_known_user_gets_unseen_items_with_reasons_of_their_own(engine: Engine, strategy: Strategy) -> None:
    answer = engine.recommend(RecommendationRequest("ann", k=5, strategy=strategy))
    own = {ITEMS[n].id for n in (0, 1, 2)}
    assert answer.items[0].item_id == ITEMS[3].id
    assert not own & {item.item_id for item in answer.items}
    cited = [reason for item in answer.items for reason in item.reasons]
    assert cited
    assert {reason.item_id for reason in cited} <= own
    assert all(sum(reason.weight for reason in item.reasons) <= 1 + 1e-9 for item in answer.items)
    assert answer.provenance.source is Source.CANDIDATES
    assert answer.provenance.known_user
    assert answer.provenance.strategy is strategy
    assert answer.provenance.generation == engine.current.generations.current_id()
    assert 0 < answer.provenance.evidence_tokens <= engine.settings.evidence_tokens


def test_scores_descend_and_k_is_kept(engine: Engine) -> None:
    answer = engine.recommend(RecommendationRequest("ben", k=4))
    scores = [item.score for item in answer.items]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)


def test_a_stranger_gets_popular_items_and_is_told_so(engine: Engine) -> None:
    answer = engine.recommend(RecommendationRequest("nobody", k=3, filters="year >= 1991"))
    assert [item.item_id for item in answer.items][:2] == [ITEMS[1].id, ITEMS[2].id]
    assert answer.provenance.source is Source.POPULARITY
    assert not answer.provenance.known_user


def test_a_user_without_positives_is_known_but_gets_popular_items(engine: Engine) -> None:
    answer = engine.recommend(RecommendationRequest("eve", k=12))
    assert answer.provenance.known_user
    assert answer.provenance.source is Source.POPULARITY
    assert ITEMS[5].id not in {item.item_id for item in answer.items}


def test_an_impression_leaves_its_item_free_and_is_no_reason(engine: Engine) -> None:
    before = engine.recommend(RecommendationRequest("ann", k=12))
    shown = before.items[0].item_id
    for at, event in enumerate(("impression", "exposure")):
        engine.add_interactions("ann", [Interaction("ann", shown, (300 + at) * DAY, event)])
    after = engine.recommend(RecommendationRequest("ann", k=12))
    assert [item.item_id for item in after.items] == [item.item_id for item in before.items]
    assert shown not in {reason.item_id for item in after.items for reason in item.reasons}
    engine.add_interactions("ann", [Interaction("ann", shown, 302 * DAY, "remove_from_cart")])
    last = engine.recommend(RecommendationRequest("ann", k=12))
    assert shown not in {item.item_id for item in last.items}
    assert shown not in {reason.item_id for item in last.items for reason in item.reasons}


@pytest.mark.parametrize("strategy", list(Strategy))
def test_only_positive_interactions_are_reasons(engine: Engine, strategy: Strategy) -> None:
    rows = [
        Interaction("ann", ITEMS[n].id, (300 + n) * DAY, "rating", value) for n, value in ((4, 1.0), (6, 3.9), (7, 5.0))
    ]
    engine.add_interactions("ann", rows)
    answer = engine.recommend(RecommendationRequest("ann", k=12, strategy=strategy))
    cited = {reason.item_id for item in answer.items for reason in item.reasons}
    assert cited <= {ITEMS[n].id for n in (0, 1, 2, 7)}
    assert cited


@pytest.mark.parametrize(
    ("event", "value", "problem"),
    [
        ("teleport", None, r"event: is none of those that are known \(.*purchase.*\); RAGREC_EVENTS adds one"),
        ("rating", None, "value: is missing"),
    ],
)
def test_an_event_that_means_nothing_is_refused(engine: Engine, event: str, value: float | None, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        engine.add_interactions("ann", [Interaction("ann", ITEMS[3].id, 300 * DAY, event, value)])
    assert len(engine.officer.export("ann")[1]) == 3


def test_a_store_with_events_from_before_the_rules_still_serves(tmp_path: Path) -> None:
    log = [*LOG, *(Interaction("fay", ITEMS[n].id, (100 + n) * DAY, "teleport") for n in range(3))]
    log += [Interaction("gil", ITEMS[n].id, (100 + n) * DAY) for n in range(3)]  # ratings without a value
    engine = running(tmp_path / "home", log)
    neutral = engine.recommend(RecommendationRequest("fay", k=12))
    assert neutral.provenance.source is Source.POPULARITY
    assert not {ITEMS[n].id for n in range(3)} & {item.item_id for item in neutral.items}
    liked = engine.recommend(RecommendationRequest("gil", k=12))
    assert liked.provenance.source is Source.CANDIDATES
    assert any(item.reasons for item in liked.items)
    engine.close()


@pytest.mark.parametrize(("equal_texts", "listed"), [("once", 1), ("all", 2)])
@pytest.mark.parametrize("user", ["ann", "stranger"])
def test_a_text_stands_once_in_a_list_and_the_next_best_fills_up(
    tmp_path: Path, equal_texts: str, listed: int, user: str
) -> None:
    settings = settings_for(tmp_path / "home", equal_texts=equal_texts)
    twice = Item("twin", f" {ITEMS[3].text.upper()}", {"year": 2000})
    fill(settings, [*LOG, *(Interaction("ben", "twin", (200 + n) * DAY, "like") for n in range(2))], [*ITEMS, twice])
    build(settings)
    engine = engine_of(settings)
    answer = engine.recommend(RecommendationRequest(user, k=9))
    texts = [item.text.strip().lower() for item in answer.items]
    assert texts.count(ITEMS[3].text) == listed
    assert len(texts) == 9
    engine.close()


def test_filters_bind(engine: Engine) -> None:
    assert set(items_of(engine, "ann", filters='provider = "provider-0"')) == {ITEMS[n].id for n in (3, 6, 9)}
    assert items_of(engine, "ann", filters="year > 3000") == []
    with pytest.raises(InvalidInput, match="year"):
        items_of(engine, "ann", filters="colour = 3")


@pytest.mark.parametrize("k", [0, -1, 101])
def test_k_out_of_range_is_refused(engine: Engine, k: int) -> None:
    with pytest.raises(InvalidInput, match="between 1 and 100"):
        items_of(engine, "ann", k=k)
    with pytest.raises(InvalidInput, match="between 1 and 100"):
        engine.similar(ITEMS[0].id, k)


def test_the_next_recommendation_knows_a_new_event(engine: Engine) -> None:
    first = items_of(engine, "dan")[0]
    result = engine.add_interactions("dan", [Interaction("dan", first, 300 * DAY, "like")])
    assert (result.accepted, result.duplicates) == (1, 0)
    assert first not in items_of(engine, "dan")
    again = engine.add_interactions("dan", [Interaction("dan", first, 300 * DAY, "like")])
    assert (again.accepted, again.duplicates) == (0, 1)


def test_a_new_user_is_known_after_their_first_event(engine: Engine) -> None:
    engine.add_interactions("new", likes("new", 0, 1))
    answer = engine.recommend(RecommendationRequest("new", k=2))
    assert answer.provenance.known_user
    assert answer.items[0].item_id == ITEMS[2].id


def test_a_new_item_can_be_recommended_and_found_at_once(engine: Engine) -> None:
    engine.put_item(Item("fresh", "mystery river silent sequel", {"genre": "mystery", "year": 2030}))
    assert items_of(engine, "ann", filters="year = 2030") == ["fresh"]
    assert items_of(engine, "nobody", filters="year = 2030") == ["fresh"]
    assert engine.similar(ITEMS[0].id, 1)[0].item_id == "fresh"
    engine.add_interactions("ann", [Interaction("ann", "fresh", 300 * DAY, "like")])
    assert items_of(engine, "ann", filters="year = 2030") == []


def test_a_changed_item_is_seen_at_once(engine: Engine) -> None:
    engine.put_item(Item(ITEMS[7].id, "entirely other words", {"year": 2031}))
    assert items_of(engine, "ann", filters="year = 2031") == [ITEMS[7].id]
    assert engine.similar(ITEMS[7].id, 3, "year < 2000")[0].item_id != ITEMS[7].id


def test_similar_items_need_a_known_item(engine: Engine) -> None:
    with pytest.raises(UnknownItem):
        engine.similar("nothing", 3)


def test_export_returns_everything_in_order(engine: Engine) -> None:
    engine.put_user(User("ann", {"age": 41}))
    user, rows = engine.officer.export("ann")
    assert user == User("ann", {"age": 41})
    assert [row.interaction for row in rows] == likes("ann", 0, 1, 2)


@pytest.mark.parametrize(
    "interaction",
    [
        Interaction("ann", "nothing", 5 * DAY, "like"),
        Interaction("ben", ITEMS[0].id, 5 * DAY, "like"),
        Interaction("ann", ITEMS[0].id, 5 * DAY, "rating", float("nan")),
        Interaction("ann", ITEMS[0].id, time.time_ns() // 1_000_000 + 10 * DAY, "like"),
        Interaction("ann", ITEMS[0].id, 5 * DAY, "like", text="x" * 20_001),
        Interaction("ann", ITEMS[0].id, 5 * DAY, "li\x00ke"),
    ],
)
def test_events_that_cannot_be_stored_change_nothing(engine: Engine, interaction: Interaction) -> None:
    epoch, counts = engine.store.epoch(), engine.store.counts()
    with pytest.raises((InvalidInput, UnknownItem)):
        engine.add_interactions("ann", [*likes("ann", 7, start=400), interaction])
    assert (engine.store.epoch(), engine.store.counts()) == (epoch, counts)


def test_events_that_came_after_the_build_are_replayed_on_opening(engine: Engine) -> None:
    engine.add_interactions("ann", likes("ann", 7, 8, start=300))
    engine.put_item(Item("fresh", "mystery sequel", {"year": 2030}))
    expected = items_of(engine, "ann")
    again = engine_of(engine.settings)
    assert items_of(again, "ann") == expected
    assert again.live.epoch == engine.live.epoch
    assert again.live.statistics.equal(engine.live.statistics)
    again.close()


def test_an_event_that_could_not_be_embedded_is_counted_once_when_it_can(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Interaction("ann", ITEMS[7].id, 300 * DAY, "like", text="words of her own")
    with monkeypatch.context() as broken:
        broken.setattr(HashEmbedder, "embed", lambda *_: (_ for _ in ()).throw(NotReady("no model")))
        with pytest.raises(NotReady):
            engine.add_interactions("ann", [written])
    assert ITEMS[7].id not in items_of(engine, "ann")
    again = engine_of(engine.settings)
    assert engine.live.statistics.equal(again.live.statistics)
    again.close()


def test_a_burst_of_events_from_elsewhere_equals_the_same_events_one_by_one(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    burst = [row for user in range(30) for row in likes(f"user-{user}", user % 12, (user + 5) % 12, start=200 + user)]
    slow = running(tmp_path / "slow", LOG)
    for row in burst:
        slow.add_interactions(row.user_id, [row])
    monkeypatch.setattr("rag_rec.index.serving_state.MANY", 5)
    store = open_store(engine.settings.database_url)
    store.append(burst)
    store.close()
    engine.recommend(RecommendationRequest("ann"))
    assert engine.live.statistics.equal(slow.live.statistics)
    slow.live.statistics.flush()
    assert items_of(engine, "user-3") == items_of(slow, "user-3")
    slow.close()


def test_a_rebuilt_generation_is_taken_up_without_stopping(engine: Engine) -> None:
    engine.add_interactions("ann", likes("ann", 7, start=300))
    before = items_of(engine, "ann")
    generation = build(engine.settings, fresh=True, reranker=engine.live.reranker)
    assert engine.live.generation.id != generation.id
    assert engine.refresh()
    assert not engine.refresh()
    assert engine.live.generation.id == generation.id
    assert items_of(engine, "ann") == before


def test_an_index_of_another_model_is_refused(engine: Engine) -> None:
    class Other(HashEmbedder):
        digest = "other"

    with pytest.raises(CorruptIndex, match="another embedding model"):
        Engine.open(engine.settings, embedder=Other())


def test_without_an_index_the_engine_says_how_to_build_one(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home")
    fill(settings, LOG)
    with pytest.raises(NotReady, match="rag-rec index build"):
        engine_of(settings)


def test_status_counts_what_is_stored(engine: Engine) -> None:
    status = engine.status()
    assert (status.ready, status.users, status.items, status.interactions) == (True, 5, 12, len(LOG))
    assert status.lag == 0


def test_answers_stay_sound_while_people_come_and_go(engine: Engine) -> None:
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                for user in ("ann", "ben", "guest-1", "guest-6"):
                    answer = engine.recommend(RecommendationRequest(user, k=12))
                    assert len({item.item_id for item in answer.items}) == len(answer.items)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for n in range(8):
            engine.add_interactions(f"guest-{n}", likes(f"guest-{n}", n, n + 2, start=200 + n))
            forget(engine.officer, f"guest-{n}")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert not engine.recommend(RecommendationRequest("guest-1")).provenance.known_user


class BrokenRanking(FixedRanking):
    def refresh(self) -> None:
        raise CorruptIndex("The gate is damaged.")


def test_a_broken_generator_keeps_no_index_back(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    fill(settings, LOG)
    build(settings)
    engine = Engine.open(settings, embedder=HashEmbedder(), ranking=BrokenRanking(Passthrough(), None))
    generation = build(settings, fresh=True)
    with pytest.raises(CorruptIndex):
        engine.refresh()
    assert engine.live.generation.id == generation.id
    engine.close()


def test_an_answer_that_an_index_switch_overtook_is_made_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal reaches the new state only, so an answer from the old one could name whom it has forgotten."""
    build(engine.settings, fresh=True, reranker=engine.live.reranker)
    recommend, states, left = Recommender.recommend, [], []

    def overtaken(self: Recommender, request: RecommendationRequest) -> Recommendation:
        answer = recommend(self, request)
        states.append(engine.live)
        left.append(request.deadline_ms or 0)
        if len(states) == 1:
            engine.refresh()
            forget(engine.officer, "ann")
        return answer

    monkeypatch.setattr(Recommender, "recommend", overtaken)
    answer = engine.recommend(RecommendationRequest("ann", k=3, deadline_ms=60_000))
    assert len(states) == 2
    assert not answer.provenance.known_user
    assert 0 < left[1] < left[0] == 60_000
