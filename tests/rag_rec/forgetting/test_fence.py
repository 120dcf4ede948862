"""Once a removal is acknowledged, no answer leaves that is older, whatever was under way."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

from rag_rec.domain import RecommendationRequest, Strategy
from rag_rec.engine.engine import Engine
from rag_rec.errors import NotReady, UnknownUser
from rag_rec.explain.explainer import Explainer
from rag_rec.recommend.pipeline import Recommender
from rag_rec.store.records import Selection
from tests.homes import ITEMS, running
from tests.rag_rec.forgetting.asking import forget, forget_in
from tests.rag_rec.forgetting.homes import CANARY, log

PATIENCE = 60.0
OTHERS = [f"user-{n}" for n in range(5)]

Forget = Callable[[Engine], object]
Result = TypeVar("Result")


def here(engine: Engine) -> object:
    """Forget in the process that is answering."""
    return forget(engine.officer, CANARY)


def elsewhere(engine: Engine) -> object:
    """Forget from outside, through a store of its own."""
    return forget_in(engine.settings, CANARY)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", log())
    yield engine
    engine.close()


class Gate:
    """Stops the first of several calls, before or after it is carried out, until it is let through."""

    def __init__(self, original: Callable[..., Any], when: str) -> None:
        self.calls = 0
        self._original = original
        self._when = when
        self._reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls > 1:
            return self._original(*arguments)
        if self._when == "before":
            self._hold()
        result = self._original(*arguments)
        if self._when == "after":
            self._hold()
        return result

    def method(self) -> Callable[..., Any]:
        """The same as a function, which a class can have as a method."""

        def method(*arguments: Any) -> Any:
            return self(*arguments)

        return method

    def interrupt(self, work: Callable[[], Result], during: Callable[[], object]) -> Future[Result]:
        """Begin some work in a thread, do something while it is held up, and let it go on."""
        with ThreadPoolExecutor(1) as thread:
            done = thread.submit(work)
            assert self._reached.wait(PATIENCE)
            during()
            self._open.set()
        return done

    def _hold(self) -> None:
        self._reached.set()
        assert self._open.wait(PATIENCE)


def hold_recommender(monkeypatch: pytest.MonkeyPatch, when: str) -> Gate:
    gate = Gate(Recommender.recommend, when)
    monkeypatch.setattr(Recommender, "recommend", gate.method())
    return gate


@pytest.mark.parametrize("removal", [here, elsewhere])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("user_id", [CANARY, "user-1", "stranger"])
def test_an_answer_under_way_is_made_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, removal: Forget, when: str, user_id: str
) -> None:
    gate = hold_recommender(monkeypatch, when)
    work = gate.interrupt(lambda: engine.recommend(RecommendationRequest(user_id, k=3)), lambda: removal(engine))
    answer = work.result()
    assert gate.calls == 2
    assert answer.provenance.epoch >= engine.store.erasure_epoch() > 0
    assert answer.provenance.known_user == (user_id == "user-1")


@pytest.mark.parametrize(("stage", "later"), [("_candidates", "_rank"), ("_rank", "_answer")])
def test_an_answer_that_is_void_is_not_gone_on_with(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, stage: str, later: str
) -> None:
    gate, calls = Gate(getattr(Recommender, stage), "after"), []
    original = getattr(Recommender, later)

    def noted(*arguments: Any) -> Any:
        calls.append(later)
        return original(*arguments)

    monkeypatch.setattr(Recommender, stage, gate.method())
    monkeypatch.setattr(Recommender, later, noted)
    work = gate.interrupt(lambda: engine.recommend(RecommendationRequest("user-1", k=3)), lambda: here(engine))
    assert len(work.result().items) == 3
    assert gate.calls == 2
    assert calls == [later]


def test_an_answer_is_not_made_again_for_an_event(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = hold_recommender(monkeypatch, "after")
    event = log()[0]
    fresh = type(event)("user-3", ITEMS[11].id, event.time, "like")
    request = RecommendationRequest("user-1", k=3)
    gate.interrupt(lambda: engine.recommend(request), lambda: engine.add_interactions("user-3", [fresh])).result()
    assert gate.calls == 1


@pytest.mark.parametrize("removal", [here, elsewhere])
def test_an_export_under_way_shows_nobody_who_was_forgotten(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, removal: Forget
) -> None:
    gate = Gate(type(engine.store).interactions, "after")
    found = engine.store.user(CANARY)
    with monkeypatch.context() as patched:
        patched.setattr(engine.store, "interactions", lambda *arguments: gate(engine.store, *arguments), raising=False)
        work = gate.interrupt(lambda: engine.officer.export(CANARY), lambda: removal(engine))
    assert found is not None
    with pytest.raises(UnknownUser):
        work.result()


def test_an_export_under_way_shows_no_interaction_that_was_forgotten(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(type(engine.store).interactions, "after")
    gone = Selection(item_ids=frozenset({ITEMS[1].id}))
    with monkeypatch.context() as patched:
        patched.setattr(engine.store, "interactions", lambda *arguments: gate(engine.store, *arguments), raising=False)
        work = gate.interrupt(lambda: engine.officer.export(CANARY), lambda: forget_in(engine.settings, CANARY, gone))
    _, rows = work.result()
    assert len(rows) == 5
    assert ITEMS[1].id not in {row.interaction.item_id for row in rows}


@pytest.mark.parametrize("removal", [here, elsewhere])
def test_an_explanation_rests_on_nothing_from_before_a_removal(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, removal: Forget
) -> None:
    engine.explainer = Explainer(GenericFakeChatModel(messages=itertools.repeat("You liked it [1]. And that [2].")))
    gate = hold_recommender(monkeypatch, "after")
    work = gate.interrupt(lambda: engine.explain(RecommendationRequest(CANARY, k=1)), lambda: removal(engine))
    explained = work.result()
    assert explained.recommendation.provenance.epoch >= engine.store.erasure_epoch()
    assert not explained.recommendation.provenance.known_user
    (explanation,) = explained
    assert explanation.evidence == ()


@pytest.mark.parametrize("removal", [here, elsewhere])
def test_an_explanation_that_is_being_read_ends_with_a_removal(engine: Engine, removal: Forget) -> None:
    engine.explainer = Explainer(GenericFakeChatModel(messages=itertools.repeat("You liked it [1]. And that [2].")))
    explained = engine.explain(RecommendationRequest("user-1", k=2))
    reading = iter(explained)
    text = iter(next(reading))
    assert next(text)
    assert explained.conditions.valid()
    removal(engine)
    assert not explained.conditions.valid()
    with pytest.raises(NotReady):
        next(text)
    with pytest.raises(NotReady):
        next(reading)


class Asking:
    """Asks for recommendations, one after the other, and checks each answer against what was acknowledged before."""

    def __init__(self, engine: Engine) -> None:
        self.acknowledged = 0
        self.over = threading.Event()
        self._engine = engine

    def __call__(self, first: int) -> int:
        turn, strategies = first, list(Strategy)
        while turn == first or not self.over.is_set():
            erased = self.acknowledged
            user_id = [*OTHERS, CANARY, "stranger"][turn % 7]
            answer = self._engine.recommend(RecommendationRequest(user_id, k=3, strategy=strategies[turn % 3]))
            assert answer.provenance.epoch >= erased
            turn += 1
        return turn - first


def test_removals_beside_recommendations_let_nothing_old_through(engine: Engine) -> None:
    asking = Asking(engine)
    parts = [(CANARY, Selection(item_ids=frozenset({ITEMS[n].id}))) for n in range(3)]
    wholes: list[tuple[str, Selection | None]] = [("user-0", None), (CANARY, None), ("user-3", None), ("user-4", None)]
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(asking, first) for first in (0, 3)]
        try:
            for turn, (user_id, selection) in enumerate([*parts, *wholes]):
                outcome = (
                    forget(engine.officer, user_id, selection)
                    if turn % 2
                    else forget_in(engine.settings, user_id, selection)
                )
                asking.acknowledged = outcome.epoch_after
        finally:
            asking.over.set()
    assert all(work.result() for work in asked)
    assert engine.recommend(RecommendationRequest("user-1")).provenance.epoch == asking.acknowledged
    assert len(engine.live.people) == 2
