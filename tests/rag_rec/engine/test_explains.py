"""Explanations over the real engine: from the user's own interactions, and void once these are gone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel

from rag_rec.domain import Interaction, Recommendation, RecommendationRequest
from rag_rec.engine.engine import Engine
from rag_rec.errors import InvalidInput, NotReady
from rag_rec.explain.explainer import Explainer
from tests.homes import ITEMS, running
from tests.rag_rec.forgetting.asking import forget

DAY = 86_400_000
LOG = [
    Interaction(user, ITEMS[item].id, (100 + step) * DAY, "like")
    for user, items in {"ann": (0, 1, 2), "ben": (0, 1, 2, 3), "cleo": (1, 2, 3)}.items()
    for step, item in enumerate(items)
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", LOG)
    engine.explainer = Explainer(GenericFakeChatModel(messages=itertools.repeat("You liked it [1]. And that [2].")))
    yield engine
    engine.close()


def test_the_evidence_is_that_of_the_recommendation(engine: Engine) -> None:
    request = RecommendationRequest("ann", k=3)
    expected = engine.recommend(request)
    explained = engine.explain(request)
    assert explained.recommendation == expected
    assert [explanation.item for explanation in explained.explanations] == list(expected.items)
    first = explained.explanations[0]
    assert [fact.item_id for fact in first.evidence] == [reason.item_id for reason in expected.items[0].reasons]
    assert {fact.item_id for fact in first.evidence} <= {ITEMS[n].id for n in (0, 1, 2)}
    assert "".join(first).startswith("You liked it [1].")


def test_one_item_is_explained(engine: Engine) -> None:
    wanted = engine.recommend(RecommendationRequest("ann", k=3)).items[1].item_id
    (explanation,) = engine.explain(RecommendationRequest("ann", k=3), wanted).explanations
    assert explanation.item.item_id == wanted
    with pytest.raises(InvalidInput, match="larger k"):
        engine.explain(RecommendationRequest("ann", k=3), ITEMS[0].id)


def test_an_explanation_is_void_once_somebody_has_been_forgotten(engine: Engine) -> None:
    (explanation, *_) = engine.explain(RecommendationRequest("ann", k=1)).explanations
    text = iter(explanation)
    assert next(text) == "You liked it [1]. "
    forget(engine.officer, "ann")
    with pytest.raises(NotReady, match="ask again"):
        next(text)
    (afresh,) = engine.explain(RecommendationRequest("ann", k=1)).explanations
    assert afresh.evidence == ()
    assert "None of your interactions" in "".join(afresh)


def test_nobody_reads_any_more(engine: Engine) -> None:
    (explanation,) = engine.explain(RecommendationRequest("ann", k=1), stopped=lambda: True).explanations
    assert list(explanation) == []


def test_without_an_instruction_tuned_llm_the_caller_is_told_what_to_do(engine: Engine) -> None:
    engine.explainer = None
    with pytest.raises(NotReady, match="RAGREC_GENERATOR_MODEL"):
        engine.explain(RecommendationRequest("ann"))


def test_no_evidence_leaves_once_somebody_has_been_forgotten(engine: Engine) -> None:
    explanations = iter(engine.explain(RecommendationRequest("ann", k=2)))
    list(next(explanations))
    forget(engine.officer, "ann")
    with pytest.raises(NotReady, match="ask again"):
        next(explanations)


def test_a_removal_while_the_answer_is_made_does_not_spoil_the_explanation(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    recommend, made = engine.recommend, []

    def interrupted(request: RecommendationRequest) -> Recommendation:
        made.append(1)
        if len(made) == 1:
            forget(engine.officer, "cleo")
        return recommend(request)

    monkeypatch.setattr(engine, "recommend", interrupted)
    (explanation,) = engine.explain(RecommendationRequest("ann", k=1))
    assert "".join(explanation)
