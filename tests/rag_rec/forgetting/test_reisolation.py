"""After a partial forget a person is what they would be if they had only ever had the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rag_rec.domain import Interaction, RecommendationRequest, Strategy
from rag_rec.engine.engine import Engine
from rag_rec.recommend.pipeline import context_of, question
from rag_rec.recommend.prompting import PromptWriter
from rag_rec.store.records import Selection
from tests.homes import ITEMS, running
from tests.rag_rec.forgetting.asking import forget
from tests.rag_rec.forgetting.homes import CANARY, CANARY_TEXT, DAY, log, number_of

RICH = [
    Interaction(CANARY, ITEMS[n].id, (300 + 7 * n) * DAY, "like", text=f"{CANARY_TEXT} again {n}" if n % 3 else None)
    for n in range(4, 11)
]


@dataclass(frozen=True)
class Part:
    """Some of the canary's interactions: how the officer names them, and which rows they are."""

    name: str
    selection: Callable[[Engine], Selection]
    covers: Callable[[Interaction], bool]


def ids_of_texts(engine: Engine) -> Selection:
    _, rows = engine.officer.export(CANARY)
    return Selection(numbers=frozenset(row.number for row in rows if row.interaction.text))


PARTS = (
    Part(
        "items", lambda _: Selection(frozenset({ITEMS[1].id, ITEMS[5].id})), lambda r: r.item_id in ("item-1", "item-5")
    ),
    Part("before", lambda _: Selection(before=203 * DAY), lambda r: r.time < 203 * DAY),
    Part("after", lambda _: Selection(after=330 * DAY), lambda r: r.time >= 330 * DAY),
    Part("ids", ids_of_texts, lambda r: r.text is not None),
)


def evidence_of(engine: Engine, strategy: Strategy) -> tuple[list[Any], int, bytes]:
    """What a prompt would show of the canary, line by line, what it costs, and the vectors it was chosen by."""
    user, _ = engine.officer.export(CANARY)
    context = context_of(engine.live, user, number_of(engine.store, CANARY))
    found = engine.live.model.candidates(question(engine.live, context, None), 10)
    writer = PromptWriter(engine.live, engine.store, engine.settings)
    chosen = writer.choose(context, found, strategy, None)
    prompt = writer.write(context, found, chosen, 10)
    return list(prompt.evidence), chosen.tokens, context.vectors.tobytes()


def profile_of(engine: Engine) -> bytes | None:
    profile = engine.live.people.profile(number_of(engine.store, CANARY))
    return None if profile is None else profile.tobytes()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.parametrize("reopened", [False, True])
def test_the_rest_equals_that_of_somebody_who_only_ever_had_it(tmp_path: Path, part: Part, reopened: bool) -> None:
    rows = [*log(), *RICH]
    engine = running(tmp_path / "live", rows, evidence_tokens=60)
    whole = {strategy: evidence_of(engine, strategy) for strategy in Strategy}
    forget(engine.officer, CANARY, part.selection(engine))
    if reopened:
        engine.close()
        engine = Engine.open(engine.settings, embedder=engine.embedder)
    kept = [row for row in rows if row.user_id != CANARY or not part.covers(row)]
    twin = running(tmp_path / "twin", kept, reranker=engine.live.reranker, evidence_tokens=60)
    assert [row.interaction for row in engine.officer.export(CANARY)[1]] == [
        row.interaction for row in twin.officer.export(CANARY)[1]
    ]
    assert profile_of(engine) == profile_of(twin)
    for strategy in Strategy:
        mine = evidence_of(engine, strategy)
        assert mine == evidence_of(twin, strategy)
        assert mine[2] != whole[strategy][2]
        request = RecommendationRequest(CANARY, k=10, strategy=strategy)
        answers = [[(each.item_id, each.reasons) for each in one.recommend(request).items] for one in (engine, twin)]
        assert answers[0] == answers[1]
    engine.close()
    twin.close()
