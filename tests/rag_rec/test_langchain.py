from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda

from rag_rec.domain import Interaction, Recommendation, RecommendationRequest, Strategy
from rag_rec.engine.engine import Engine
from rag_rec.errors import InvalidInput
from rag_rec.langchain import EvidenceRetriever, ItemRetriever, as_runnable
from tests.embedders import HashEmbedder
from tests.homes import ITEMS, TITLES, running
from tests.rag_rec.forgetting.asking import forget

DAY = 86_400_000
LOG = [
    Interaction("ann", ITEMS[0].id, 1 * DAY, "rating", 5.0),
    Interaction("ann", ITEMS[6].id, 2 * DAY, "like"),
    Interaction("ann", ITEMS[3].id, 3 * DAY, "review", None, "funny garden"),
    Interaction("ann", ITEMS[5].id, 4 * DAY, "dislike"),
    *(Interaction("ben", ITEMS[n].id, (n + 1) * DAY, "like") for n in range(6)),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = running(tmp_path / "home", LOG)
    yield engine
    engine.close()


def ids(documents: list[Document]) -> list[str]:
    return [document.metadata["item_id"] for document in documents]


def test_evidence_is_the_users_own_oldest_first(engine: Engine) -> None:
    documents = EvidenceRetriever(engine=engine, user_id="ann").invoke("winter comedy")
    assert ids(documents) == [ITEMS[0].id, ITEMS[6].id, ITEMS[3].id]
    assert documents[0].metadata == {"item_id": ITEMS[0].id, "event": "rating", "time": DAY, "value": 5.0}
    assert documents[1].metadata["value"] is None
    assert documents[2].page_content == f"{TITLES[3]}\nfunny garden"


def test_a_budget_leaves_what_the_query_attends_to(engine: Engine) -> None:
    for query, place in [("silent river mystery", 0), ("steel hearts romance", 6)]:
        documents = EvidenceRetriever(engine=engine, user_id="ann", budget=11).invoke(query)
        assert ids(documents) == [ITEMS[place].id]


@pytest.mark.parametrize("strategy", Strategy)
def test_every_strategy_can_choose(engine: Engine, strategy: Strategy) -> None:
    documents = EvidenceRetriever(engine=engine, user_id="ben", strategy=strategy).invoke("anything")
    assert ids(documents) == [item.id for item in ITEMS[:6]]


def test_there_is_no_evidence_of_strangers_and_of_the_forgotten(engine: Engine) -> None:
    assert EvidenceRetriever(engine=engine, user_id="nobody").invoke("river") == []
    retriever = EvidenceRetriever(engine=engine, user_id="ben")
    assert retriever.invoke("river")
    forget(engine.officer, "ben")
    assert retriever.invoke("river") == []


def test_an_event_of_now_is_evidence(engine: Engine) -> None:
    engine.add_interactions("ann", [Interaction("ann", ITEMS[9].id, 9 * DAY, "like")])
    assert ids(EvidenceRetriever(engine=engine, user_id="ann").invoke("river"))[-1] == ITEMS[9].id


def test_items_are_the_closest_by_text(engine: Engine) -> None:
    query = "winter stars"
    embedder = HashEmbedder()
    scores = embedder.embed(TITLES) @ embedder.embed([query])[0]
    expected = [ITEMS[place].id for place in np.argsort(-scores)[:4]]
    documents = ItemRetriever(engine=engine, k=4).invoke(query)
    assert ids(documents) == expected
    first = documents[0]
    item = next(item for item in ITEMS if item.id == expected[0])
    assert (first.page_content, first.metadata["provider"]) == (item.text, item.provider)
    assert first.metadata["year"] == item.attributes["year"]
    assert first.metadata["score"] == pytest.approx(scores.max(), abs=1e-3)


def test_items_meet_the_filter(engine: Engine) -> None:
    documents = ItemRetriever(engine=engine, k=50, filters="year >= 1999").invoke("river")
    assert set(ids(documents)) == {item.id for item in ITEMS[9:]}
    with pytest.raises(InvalidInput):
        ItemRetriever(engine=engine, filters="year >=").invoke("river")


def test_a_recommendation_as_a_runnable(engine: Engine) -> None:
    runnable = as_runnable(engine)
    request = RecommendationRequest("ann", k=3, strategy=Strategy.DIVERSITY)
    expected = engine.recommend(request)
    fields = {"user_id": "ann", "k": 3, "strategy": "diversity"}
    assert runnable.invoke(request) == runnable.invoke(fields) == expected
    assert runnable.batch([fields, request]) == [expected, expected]
    assert asyncio.run(runnable.ainvoke(fields)) == expected
    best = runnable | RunnableLambda(_best)
    assert best.invoke(fields) == expected.items[0].item_id


def _best(answer: Recommendation) -> str:
    return answer.items[0].item_id


@pytest.mark.parametrize(
    "fields", [{}, {"k": 3}, {"user_id": "ann", "limit": 3}, {"user_id": "ann", "strategy": "x"}], ids=str
)
def test_a_request_that_is_none_is_refused(engine: Engine, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="user_id"):
        as_runnable(engine).invoke(fields)


def test_retrievers_and_runnable_work_asynchronously(engine: Engine) -> None:
    items = ItemRetriever(engine=engine, k=2)
    assert asyncio.run(items.ainvoke("river")) == items.invoke("river")
    assert items.batch(["river", "sea"]) == [items.invoke("river"), items.invoke("sea")]


def test_the_service_does_not_pass_through_here() -> None:
    code = (
        "import sys, rag_rec.engine.engine, serving.app; print([each for each in sys.modules if 'langchain' in each])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
