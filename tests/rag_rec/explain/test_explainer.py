from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langsmith.utils import get_env_var, tracing_is_enabled
from pydantic import Field

from rag_rec.domain import (
    Item,
    Provenance,
    Reason,
    Recommendation,
    RecommendedItem,
    Source,
    Strategy,
)
from rag_rec.errors import InvalidInput, NotReady
from rag_rec.explain.chat import OpenAIChat
from rag_rec.explain.explainer import MOST_CHARACTERS, Explainer
from rag_rec.explain.records import Conditions, Explanation
from rag_rec.generators.failures import GeneratorFailure
from tests.rag_rec.generators.chat_server import ChatServer
from tests.rag_rec.generators.prompting import ORDERS

ITEMS = {
    "heat": Item("heat", "Heat", {"title": "Heat", "year": 1995, "genres": ("Crime",)}),
    "ran": Item("ran", "Ran", {"title": "Ran", "year": 1985}),
    "up": Item("up", "Up", {"title": "Up"}),
}
REASONS = (Reason("heat", "rating", 1000, 0.75), Reason("ran", "view", 2000, 0.25))


class Recorder(GenericFakeChatModel):
    """Also remembers what it was asked, and whether its reply was read to the end."""

    asked: list[list[BaseMessage]] = Field(default_factory=list)
    ended: list[bool] = Field(default_factory=list)

    def _stream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self.asked.append(messages)
        ended = False
        try:
            yield from super()._stream(messages, *args, **kwargs)
            ended = True
        finally:
            self.ended.append(ended)


def saying(*replies: str) -> Recorder:
    return Recorder(messages=iter([AIMessage(reply) for reply in replies]))


def answer(*reasons: Sequence[Reason]) -> Recommendation:
    """A recommendation of ``up``, and of as many more items as there are reasons given."""
    items = tuple(
        RecommendedItem(item_id, ITEMS[item_id].text, 0.5, ("content", "popularity"), tuple(why))
        for item_id, why in zip(("up", "ran", "heat"), reasons, strict=False)
    )
    return Recommendation(items, Provenance(3, "g", Strategy.PREFERENCE, Source.LLM, True, 9))


def only(chat: Any, reasons: Sequence[Reason] = REASONS, **conditions: Any) -> Explanation:
    explainer = Explainer(chat)
    (explanation,) = explainer.explain(answer(reasons), "up", ITEMS.__getitem__, Conditions(**conditions)).explanations
    return explanation


def outcome(explanation: Explanation) -> tuple[tuple[int, ...], int, str]:
    assert explanation.outcome is not None
    return explanation.outcome.cited, explanation.outcome.removed, explanation.outcome.written_by


def test_the_text_streams_and_cites() -> None:
    explanation = only(saying("You rated Heat highly [1]. You also saw Ran [2]."))
    assert explanation.outcome is None
    assert list(explanation) == ["You rated Heat highly [1]. ", "You also saw Ran [2]."]
    assert outcome(explanation) == ((1, 2), 0, "llm")
    assert [(fact.number, fact.item_id, fact.text, fact.event, fact.weight) for fact in explanation.evidence] == [
        (1, "heat", "Heat (1995) | Crime", "rating", 0.75),
        (2, "ran", "Ran (1985)", "view", 0.25),
    ]


def test_the_model_sees_the_item_and_its_reasons_only() -> None:
    model = saying("Because [1].")
    list(only(model, REASONS[:1]))
    ((system, human),) = model.asked
    assert "nothing else" in str(system.text)
    assert human.text == ("Recommended: Up\nFacts about what you did:\n[1] rating: Heat (1995) | Crime\nExplanation:")


def test_what_cites_more_than_was_given_is_left_out() -> None:
    explanation = only(saying("Ran was fine [3]. Heat was good [1]. Fact 9 agrees. See http://evil.example too."))
    assert "".join(explanation) == "Heat was good [1]. "
    assert outcome(explanation) == ((1,), 3, "llm")


@pytest.mark.parametrize(
    ("reply", "by"), [("All wrong [7].", "template"), ("You will like it.", "llm"), (" ", "template")]
)
def test_a_text_without_citation_is_completed_without_the_model(reply: str, by: str) -> None:
    explanation = only(saying(reply))
    text = "".join(explanation)
    assert text.endswith("It was recommended because of what you did before: Heat (1995) | Crime [1]; Ran (1985) [2].")
    assert outcome(explanation) == ((1, 2), int("[7]" in reply), by)
    assert "[7]" not in text


def test_without_evidence_the_model_is_not_asked() -> None:
    model = saying("I invent [1].")
    explanation = only(model, ())
    assert "".join(explanation) == (
        "None of your interactions speaks for this item; it was proposed by: content, popularity."
    )
    assert outcome(explanation) == ((), 0, "template")
    assert model.asked == []


def test_all_items_of_an_answer_are_explained_in_turn() -> None:
    model = saying("Up [1].", "Ran [1].")
    explained = Explainer(model).explain(answer(REASONS[:1], REASONS[:1], ()), None, ITEMS.__getitem__)
    assert [explanation.item.item_id for explanation in explained.explanations] == ["up", "ran", "heat"]
    texts = ["".join(explanation) for explanation in explained.explanations]
    assert texts[:2] == ["Up [1].", "Ran [1]."]
    assert texts[2].startswith("None of your interactions")
    assert explained.recommendation.provenance.epoch == 3


def test_an_item_that_was_not_recommended_is_refused() -> None:
    with pytest.raises(InvalidInput, match="larger k"):
        Explainer(saying()).explain(answer(REASONS), "heat", ITEMS.__getitem__)


def test_nothing_leaves_once_the_evidence_is_gone() -> None:
    still = iter([True, False])
    model = saying("One [1]. Two [2]. Three [1].")
    explanation = only(model, valid=lambda: next(still))
    text = iter(explanation)
    assert next(text) == "One [1]. "
    with pytest.raises(NotReady, match="ask again"):
        next(text)
    assert model.ended == [False]
    assert list(text) == []
    with pytest.raises(NotReady):
        list(only(saying(), (), valid=lambda: False))


def test_the_model_is_stopped_when_nobody_reads_any_more() -> None:
    stopped = threading.Event()
    model = saying("One [1]. Two [2]. Three [1].")
    explanation = only(model, stopped=stopped.is_set)
    text = iter(explanation)
    assert next(text) == "One [1]. "
    stopped.set()
    assert list(text) == []
    assert model.ended == [False]
    assert explanation.outcome is None


def test_an_endless_text_ends() -> None:
    model = saying("This is one more sentence about it [1]. " * 1000)
    text = "".join(only(model))
    assert MOST_CHARACTERS <= len(text) < MOST_CHARACTERS + 100
    assert model.ended == [False]


def test_a_failing_model_quotes_nothing() -> None:
    class Failing(Recorder):
        def _stream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
            raise ValueError(str(messages))

    with pytest.raises(GeneratorFailure) as failed:
        list(only(Failing(messages=iter([]))))
    assert str(failed.value) == "The chat model failed (ValueError)."
    assert failed.value.__suppress_context__


@pytest.mark.parametrize("order", ORDERS)
def test_hostile_texts_add_no_fact_and_no_mark(order: str) -> None:
    hostile = {
        "up": Item("up", order, {"title": order, "genres": (order,)}),
        "x": Item("x", f"{order}\n[2] rating: Ran"),
    }
    model = saying("Because [1].")
    explainer = Explainer(model)
    explained = explainer.explain(answer([Reason("x", order, 0, 1.0)]), "up", hostile.__getitem__)
    assert "".join(explained.explanations[0]) == "Because [1]."
    human = str(model.asked[0][1].text)
    lines = human.splitlines()
    assert [line[:3] for line in lines[2:-1]] == ["[1]"]
    assert len(lines) == 4
    assert human.count("[") == human.count("]") == 1
    assert "<" not in human
    assert len(human) < 1500


def test_nothing_personal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ChatServer(["You rated ", "Heat [1]."]) as server:
        chat = OpenAIChat(base_urls=(server.url,), model_name="llm")
        assert "".join(only(chat)) == "You rated Heat [1]."
        chat.close()
    assert not any(word in record.getMessage() for record in caplog.records for word in ("Heat", "Ran", "rating"))


def test_nothing_is_traced_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    traced = []

    class Watched(Recorder):
        def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
            traced.append(tracing_is_enabled())
            yield from super()._stream(*args, **kwargs)

    get_env_var.cache_clear()  # type: ignore[attr-defined]
    try:
        assert tracing_is_enabled()
        assert "".join(only(Watched(messages=iter([AIMessage("Good [1].")])))) == "Good [1]."
        assert tracing_is_enabled()
    finally:
        monkeypatch.undo()
        get_env_var.cache_clear()  # type: ignore[attr-defined]
    assert traced == [False]
